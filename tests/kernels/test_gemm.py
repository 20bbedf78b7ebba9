"""The GEMM kernel agrees with torch for numbers of rows and columns below, at and above those of a register block."""

import pytest
import torch
from helpers import distance, noise

from inceptionzoo.kernels._gemm import Gemm, choose_block, pack_weight
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


@pytest.mark.parametrize("columns", [8, 33, 64])
def test_matrices_that_share_one_weight(columns):
    """Their rows may overlap in memory, as the windows of a signal do."""
    signal, weight, bias = noise(3, 60), noise(1, 8, columns), noise(columns)
    rows, y = 27, torch.full((3, 27, columns), float("nan"))
    gemm = Gemm(pack_weight(weight), columns, rows, 2, columns)
    addresses = signal.data_ptr(), y.data_ptr(), bias.data_ptr()
    launch(*gemm.make_launch(*addresses, rows, (60, rows * columns), sharing=3))
    assert distance(y, signal.unfold(1, 8, 2) @ weight[0] + bias) < 1e-5


def test_register_blocks_fit():
    for rows in range(1, 200):
        for columns in (8, 24, 64):
            block = choose_block(rows, columns)
            assert 1 <= block.rows <= rows
            assert block.columns <= columns
            assert block.vectors * (block.rows + 1) < 32  # registers
            assert block[1:] == choose_block(1, columns)[1:]  # one packed weight serves every number of rows
