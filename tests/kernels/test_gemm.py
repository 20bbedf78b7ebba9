"""The GEMM kernel agrees with torch for numbers of rows and columns below, at and above those of a register block."""

import pytest
import torch
from helpers import distance, noise

from inceptionzoo.kernels import _gemm
from inceptionzoo.kernels._gemm import GROUP_BYTES, LONG_STRIP, Gemm, choose_block, choose_fetches, choose_groups, pack_weight
from inceptionzoo.kernels._gemm_kernel import CACHE_LINE, RegisterBlock, step_bytes
from inceptionzoo.kernels._jit import launch


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("columns", [8, 9, 16, 17, 31, 32, 33, 48, 64, 100])
def test_gemm_agrees_with_torch(columns, threads):
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for rows in (1, 2, 5, 6, 7, 13, 14, 15, 29, 49):
            for batch, depth, relu_columns in ((1, 4, columns), (3, 24, 0), (1, 8, columns // 3)):
                x, weight, bias = noise(rows, batch, depth), noise(batch, depth, columns), noise(columns)
                y = torch.full((rows, batch, columns), float("nan"))
                gemm = Gemm(pack_weight(weight), columns, rows, batch * depth, batch * columns)
                addresses = x.data_ptr(), y.data_ptr(), bias.data_ptr()
                launch(*gemm.make_launch(*addresses, rows, (depth, columns), relu_columns=relu_columns))
                expected = torch.einsum("rgd,gdc->rgc", x.double(), weight.double()) + bias
                expected[..., :relu_columns].relu_()
                assert distance(y, expected) < 1e-5
    finally:
        torch.set_num_threads(threads_before)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("columns", [8, 33, 64])
def test_groups_of_rows_change_no_bit(columns, threads):
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for rows in (42, 43, 59, 100):
            x, weight, bias = noise(rows, 2, 12), noise(2, 12, columns), noise(columns)
            gemm = Gemm(pack_weight(weight), columns, rows, 24, 2 * columns)
            results = []
            for groups in (1, 2, 3):
                y = torch.full((rows, 2, columns), float("nan"))
                launch(*gemm.make_launch(x.data_ptr(), y.data_ptr(), bias.data_ptr(), rows, (12, columns), groups=groups))
                results.append(y)
            assert not results[0].isnan().any()
            assert all(map(results[0].equal, results))
    finally:
        torch.set_num_threads(threads_before)


def test_rows_are_divided_if_fewer_bytes_move():
    threads = torch.get_num_threads()
    weight = torch.zeros(1, 11, 256, 32)  # 360 kB: stays in the cache of a core
    block = choose_block(6272, 352)
    groups = choose_groups(6272, 4 * 6272 * 256, weight, block)
    assert groups % threads == 0
    assert 4 * 6272 * 256 / groups <= GROUP_BYTES
    assert choose_groups(49, 4 * 49 * 832, weight, block) == 1  # x stays in the cache
    assert choose_groups(200, 4 * 200 * 4096, torch.zeros(1, 2, 4096, 32), block) == 1  # few panels: x is read twice


@pytest.mark.parametrize("columns", [8, 33, 64])
def test_matrices_that_share_one_weight(columns):
    """Their rows may overlap in memory, as the windows of a signal do."""
    signal, weight, bias = noise(3, 60), noise(1, 8, columns), noise(columns)
    rows, y = 27, torch.full((3, 27, columns), float("nan"))
    gemm = Gemm(pack_weight(weight), columns, rows, 2, columns)
    addresses = signal.data_ptr(), y.data_ptr(), bias.data_ptr()
    launch(*gemm.make_launch(*addresses, rows, (60, rows * columns), sharing=3))
    assert distance(y, signal.unfold(1, 8, 2) @ weight[0] + bias) < 1e-5


@pytest.mark.parametrize(("vector_width", "most"), [(8, 6), (16, 14)])
def test_equal_blocks_would_not_compute_fewer_rows_twice(monkeypatch, vector_width, most):
    monkeypatch.setattr(_gemm, "max_vector_width", lambda: vector_width)
    for rows in range(1, 200):
        block, blocks = choose_block.__wrapped__(rows, 64), -(-rows // most)
        assert block.rows <= most
        assert -(-rows // block.rows) * block.rows <= blocks * -(-rows // blocks)
    assert choose_block.__wrapped__(16, 64).rows == {6: 6, 14: 8}[most]


def test_register_blocks_fit():
    for rows in range(1, 200):
        for columns in (8, 24, 64):
            block = choose_block(rows, columns)
            assert 1 <= block.rows <= rows
            assert block.columns <= columns
            assert block.vectors * (block.rows + 1) < 32  # registers
            assert block[1:] == choose_block(1, columns)[1:]  # one packed weight serves every number of rows


@pytest.mark.parametrize("block", [RegisterBlock(6, 2, 8), RegisterBlock(6, 1, 8), RegisterBlock(14, 2, 16)])
def test_a_strip_fetches_the_panel_of_the_next(block):
    for blocks in range(1, LONG_STRIP + 1):
        fetches = blocks * choose_fetches(blocks * block.rows, block)
        assert step_bytes(block) // fetches <= CACHE_LINE  # the distance between fetches leaves out no line
        assert (fetches - blocks) * CACHE_LINE < step_bytes(block)  # one fewer for each block would leave out some
    assert choose_fetches((LONG_STRIP + 1) * block.rows, block) == 0
