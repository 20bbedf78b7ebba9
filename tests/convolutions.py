"""Convolutions and inputs for the tests of kernels, reference outputs in float64, gradients, and tolerances."""

import copy

import torch
from helpers import noise
from torch import nn

PACKED = 5e-6  # tolerance of direct convolutions, relative to the largest output
WINOGRAD = 1e-4  # the same of Winograd's algorithm, which rounds more


def conv(into: int = 8, out: int = 16, kernel: object = 3, **options: object) -> nn.Conv2d:
    """Return a frozen channels_last convolution with random values; its output is as large as its input by default."""
    kernel_size = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    options = {"padding": tuple(side // 2 for side in kernel_size)} | options
    layer = nn.Conv2d(into, out, kernel_size, **options).requires_grad_(False)
    layer.weight.copy_(noise(*layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(noise(out))
    return layer.to(memory_format=torch.channels_last)


def maps(*shape: int) -> torch.Tensor:
    """Return random channels_last feature maps (n, c, h, w)."""
    return noise(*shape, seed=2).to(memory_format=torch.channels_last)


def relu_channels(layer: nn.Conv2d, relu: bool | int) -> int:
    """Return the number of leading channels that ReLU applies to; `relu` is True for all, False for none, or the number."""
    return layer.out_channels * relu if isinstance(relu, bool) else relu


def expected(layer: nn.Conv2d, x: torch.Tensor, relu: bool | int) -> torch.Tensor:
    """Return the output of the convolution and the ReLU in float64."""
    y = copy.deepcopy(layer).double()(x.double())
    y[:, : relu_channels(layer, relu)].relu_()
    return y


def gradients(run: object, layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the output and the gradients of x and the parameters, for a random gradient of the output."""
    x, layer = x.detach().requires_grad_(), copy.deepcopy(layer)
    y = run(layer, x)
    y.backward(noise(*y.shape, seed=5).to(y))
    return [y.detach(), x.grad, *(parameter.grad for parameter in layer.parameters() if parameter.requires_grad)]


def second_gradients(run: object, layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the gradients, of x and the parameters, of the squared norm of the first gradients."""
    x, layer = x.detach().requires_grad_(), copy.deepcopy(layer)
    inputs = [x, *layer.parameters()]
    first = torch.autograd.grad(run(layer, x).square().sum(), inputs, create_graph=True)
    sum(gradient.square().sum() for gradient in first).backward()
    return [tensor.grad for tensor in inputs]
