"""Batch normalisation with the statistics of the batch, followed by ReLU, with gradients."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._batch_norm_channels import WIDTH, ChannelArgs, gradients_kernel, statistics_kernel
from ._batch_norm_kernels import CHUNK, RowArgs, gradient_kernel, gradient_sums_kernel, moments_kernel, normalize_kernel
from ._buffers import channels_last_rows
from ._jit import choose_vector_width, launch
from ._normalization_source import NormalizationSource, set_source


def normalize_relu(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Return relu(bn(x)), (n, c, h, w), for a module in training mode; update its running statistics.

    x is in channels_last memory, c a multiple of 8, and there is more than one value for each channel.
    """
    y: Tensor
    y, vectors = BatchNormReLUFunction.apply(x, bn.weight, bn.bias, bn.eps)
    _, _, mean, _, variance = vectors.unbind()
    _update_statistics(bn, mean, variance, x.numel() // x.shape[1])
    set_source(y, NormalizationSource(x, bn.weight, bn.bias, vectors, bn.eps))
    return y


def normalize_again(source: NormalizationSource) -> Tensor:
    """Return the output of `normalize_relu` that has this source, by torch if torch must record it."""
    if torch.is_grad_enabled():
        return _normalize_by_torch(source.x, source.weight, source.bias, source.eps)
    return _scale_relu(channels_last_rows(source.x), source.vectors)


def _normalize_by_torch(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.relu(F.batch_norm(x, None, None, weight, bias, training=True, eps=eps))


def _scale_relu(x: Tensor, vectors: Tensor) -> Tensor:
    """Return relu(scale * x + shift), (n, c, h, w); they are the first two of the vectors of `BatchNormReLUFunction`."""
    y = torch.empty_like(x)
    _launch_rows(normalize_kernel, x, target=y, scale=vectors[0], shift=vectors[1])
    return y


@torch.no_grad()
def _update_statistics(bn: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update the running statistics as torch does, with the variance of the sample."""
    if not bn.track_running_stats or bn.running_mean is None or bn.running_var is None:
        return
    factor = 0.0 if bn.momentum is None else bn.momentum
    if bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
        factor = 1.0 / float(bn.num_batches_tracked) if bn.momentum is None else factor
    bn.running_mean.lerp_(mean, factor)
    bn.running_var.mul_(1 - factor).add_(variance, alpha=factor * count / (count - 1))


class BatchNormReLUFunction(torch.autograd.Function):
    """relu(batch normalisation of x): `apply(x, weight, bias, eps)` returns it, and five vectors of (c,).

    They are the scale, the shift, the mean, the inverse of the standard deviation, and the variance.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        original, x = x, channels_last_rows(x)
        sums = _sums(moments_kernel, x, slots=3)
        vectors = _channel_vectors(statistics_kernel(), x, sums, 5, eps=eps, weight=weight, bias=bias)
        y = _scale_relu(x, vectors)
        ctx.eps = eps
        ctx.save_for_backward(original, weight, bias, vectors)  # not a view of it, which has no graph
        ctx.mark_non_differentiable(vectors)
        ctx.set_materialize_grads(False)
        return y, vectors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, bias, vectors = ctx.saved_tensors
        if gradients[0] is None:
            return None, None, None, None
        if torch.is_grad_enabled():  # a backward pass of the backward pass may follow
            return (*_torch_gradients(x, weight, bias, ctx.eps, gradients[0]), None)
        x = channels_last_rows(x)
        scale, shift, mean, inverse, _ = vectors.unbind()
        gradient = channels_last_rows(gradients[0])
        masked = {"gradient": gradient, "scale": scale, "shift": shift}
        sums = _sums(gradient_sums_kernel, x, slots=2, mean=mean, **masked)
        results = _channel_vectors(gradients_kernel(), x, sums, 4, scale=scale, mean=mean, inverse=inverse)
        weight_gradient, bias_gradient, slope, offset = results.unbind()
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = torch.empty_like(x)
            _launch_rows(gradient_kernel, x, target=x_gradient, slope=slope, offset=offset, **masked)
        return x_gradient, weight_gradient, bias_gradient, None


def _torch_gradients(x: Tensor, weight: Tensor, bias: Tensor, eps: float, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of x, weight and bias by torch's operations, which themselves have gradients."""
    operands = [each if each.requires_grad else each.detach().requires_grad_() for each in (x, weight, bias)]
    y = _normalize_by_torch(operands[0], operands[1], operands[2], eps)
    return torch.autograd.grad(y, operands, gradient, create_graph=True)


def _channel_vectors(kernel: int, x: Tensor, sums: Tensor, count: int, *, eps: float = 0.0, **tensors: Tensor) -> Tensor:
    """Return the `count` results of a kernel on the sums of x, (count, c); `tensors` are its other arguments, of (c,)."""
    channels = x.shape[1]
    results, epsilon = torch.empty((count, channels), dtype=torch.float32, device="cpu"), ctypes.c_double(eps)
    vectors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    args = ChannelArgs(
        sums=sums.data_ptr(), results=results.data_ptr(), epsilon=ctypes.addressof(epsilon), rows=x.numel() // channels,
        channels=channels, chunks=len(sums), stop=channels // WIDTH,
        **{name: vector.data_ptr() for name, vector in vectors.items()},
    )  # fmt: skip
    launch(kernel, args)
    return results


def _sums(kernel: Any, x: Tensor, slots: int, **tensors: Tensor) -> Tensor:
    """Return the sums of a kernel over each chunk of rows, (chunks, slots, c)."""
    channels = x.shape[1]
    chunks = -(-x.numel() // channels // CHUNK)
    sums = torch.empty((chunks, slots, channels), dtype=torch.float32, device="cpu")
    _launch_rows(kernel, x, sums=sums, items=chunks, **tensors)
    return sums


def _launch_rows(kernel: Any, x: Tensor, *, items: int | None = None, **tensors: Tensor) -> None:
    """Run a kernel on the rows of x; `tensors` are its other arguments, `items` the number of chunks if it has chunks."""
    channels = x.shape[1]
    rows = x.numel() // channels
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    args = RowArgs(x=x.data_ptr(), rows=rows, channels=channels, stop=rows if items is None else items, **addresses)
    if "gradient" in tensors:
        args.gradient_stride = tensors["gradient"].stride(3)
    launch(kernel(choose_vector_width(channels)), args)
