"""Convolutions and maps, and what they give in float64."""

import copy

import torch
from helpers import noise
from torch import nn

PACKED = 5e-6  # relative to the largest output
WINOGRAD = 1e-4


def conv(into: int = 8, out: int = 16, kernel: object = 3, **options: object) -> nn.Conv2d:
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    options = {"padding": tuple(side // 2 for side in sides)} | options
    made = nn.Conv2d(into, out, sides, **options).requires_grad_(False)
    made.weight.copy_(noise(*made.weight.shape)), made.bias.copy_(noise(out))
    return made.to(memory_format=torch.channels_last)


def maps(*shape: int) -> torch.Tensor:
    return noise(*shape, seed=2).to(memory_format=torch.channels_last)


def rectified(made: nn.Conv2d, relu: bool | int) -> int:
    """Return of how many channels, first ones, ReLU is taken: True for all."""
    return made.out_channels * relu if isinstance(relu, bool) else relu


def expected(made: nn.Conv2d, x: torch.Tensor, relu: bool | int) -> torch.Tensor:
    y = copy.deepcopy(made).double()(x.double())
    y[:, : rectified(made, relu)].relu_()
    return y
