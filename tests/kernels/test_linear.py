"""The kernel of linear layers agrees with torch for all numbers of rows that it takes, and stays within its memory."""

import pytest
import torch
from guarded import Guard, GuardedTorch
from helpers import distance, noise
from torch import nn

from inceptionzoo.kernels import _linear as linear
from inceptionzoo.kernels._linear import CHUNK, GROUP, MAX_BLOCK, MAX_ROWS, LinearOp, supports

ROUNDED = 1e-6
SIZES = [
    (16, MAX_BLOCK),
    (48, 9),
    (CHUNK, 23),
    (CHUNK + 16, 2 * GROUP * MAX_BLOCK + 5),
    (3 * CHUNK - 16, 40),
]  # inputs and outputs


def layer_of(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias).requires_grad_(False)


def expected(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    bias = None if layer.bias is None else layer.bias.double()
    return nn.functional.linear(x.double(), layer.weight.double(), bias)


@pytest.mark.parametrize("rows", range(1, MAX_ROWS + 1))
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_outputs_agree_with_torch(sizes, rows):
    layer = layer_of(*sizes, bias=sizes[1] % 2 == 1)
    assert supports(layer, rows)
    wide = noise(rows, sizes[0] + 4)
    for x in (wide[:, :-4].contiguous(), wide[:, 4:], wide[:1, :-4].expand(rows, -1)):
        assert distance(LinearOp(layer.weight, layer.bias, rows)(x), expected(layer, x)) < ROUNDED


@pytest.mark.parametrize("vector_width", [8, 16])
def test_all_vector_widths(vector_width, monkeypatch):
    monkeypatch.setattr(linear, "max_vector_width", lambda: vector_width)
    layer = layer_of(CHUNK + 48, 41)
    for rows in (1, 2, 5, 8, 15):
        x = noise(rows, layer.in_features)
        assert distance(LinearOp(layer.weight, layer.bias, rows)(x), expected(layer, x)) < ROUNDED


def test_the_bits_do_not_depend_on_the_number_of_threads():
    layer, x, threads = layer_of(CHUNK + 16, 301), noise(3, CHUNK + 16), torch.get_num_threads()
    outputs = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            outputs.append(LinearOp(layer.weight, layer.bias, 3)(x))
    finally:
        torch.set_num_threads(threads)
    assert outputs[0].equal(outputs[1])
    assert outputs[0].equal(outputs[2])


def test_a_row_that_is_not_finite_changes_no_other():
    layer, x = layer_of(64, 24), noise(6, 64)
    finite = LinearOp(layer.weight, layer.bias, 6)(x)
    x[1, 5], x[4, 63] = float("nan"), float("inf")
    y = LinearOp(layer.weight, layer.bias, 6)(x)
    others = [0, 2, 3, 5]
    assert y[others].equal(finite[others])
    assert y[1].isnan().all()
    assert y[4].isinf().equal(expected(layer, x)[4].isinf())


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_nothing_outside_the_tensors_is_read_or_written(rows, at_end, monkeypatch):
    guard = Guard()
    guard.at_end = at_end
    monkeypatch.setattr(linear, "torch", GuardedTorch(guard))
    for inputs, outputs in ((32, 8), (CHUNK + 16, 37)):
        layer = layer_of(inputs, outputs)
        guard.move(layer)
        x = guard.copy(noise(rows, inputs))
        assert distance(LinearOp(layer.weight, layer.bias, rows)(x), expected(layer, x)) < ROUNDED


@pytest.mark.parametrize(
    ("sizes", "rows", "supported"),
    [((16, 8), 1, True), ((16, 8), 16, True), ((16, 8), 17, False), ((24, 8), 1, False), ((16, 7), 1, False)],
)
def test_supported_layers(sizes, rows, supported):
    assert supports(layer_of(*sizes), rows) is supported


def test_a_weight_with_gaps_is_not_supported():
    layer = layer_of(32, 16)
    layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t(), requires_grad=False)
    assert not supports(layer, 1)
