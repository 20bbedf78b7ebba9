"""Products of matrices, for every number of rows and columns about a block's."""

import pytest
import torch
from helpers import distance, noise

from inceptionzoo.inference.cpu._gemm import Gemm, block_for, pack_weight
from inceptionzoo.inference.cpu._jit import launch


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("columns", [8, 9, 16, 17, 31, 32, 33, 48, 64, 100])
def test_products(columns, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for rows in (1, 2, 5, 6, 7, 13, 14, 15, 29, 49):
            for groups, depth, relu in ((1, 4, columns), (3, 24, 0), (1, 8, columns // 3)):
                x, weight, bias = noise(rows, groups, depth), noise(groups, depth, columns), noise(columns)
                y = torch.full((rows, groups, columns), float("nan"))
                product = Gemm(pack_weight(weight, columns), columns, rows, groups * depth, groups * columns)
                launch(*product.step(x.data_ptr(), y.data_ptr(), bias.data_ptr(), rows, (depth, columns), relu=relu))
                expected = torch.einsum("rgd,gdc->rgc", x.double(), weight.double()) + bias
                expected[..., :relu].relu_()
                assert distance(y, expected) < 1e-5
    finally:
        torch.set_num_threads(before)


def test_blocks():
    for rows in range(1, 200):
        for columns in (8, 24, 64):
            block = block_for(rows, columns)
            assert 1 <= block.rows <= rows
            assert block.columns <= columns
            assert block.vectors * (block.rows + 1) < 32
            assert block[1:] == block_for(1, columns)[1:]  # so that weights serve every number of rows
