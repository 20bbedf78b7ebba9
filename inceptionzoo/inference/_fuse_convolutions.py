"""Fuse the convolutions of any module, such as the decoder behind a network of this library."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import ArgumentError
from ..nn import Backbone, is_relu, private_torch, to_channels_last
from ._fold import conv_like, is_affine, norm_affine, scaled
from ._fuse import warn_if_slow
from ._modules import ConvAct, TunableModule
from ._signals import is_tunable_conv

M = TypeVar("M", bound=nn.Module)


def fuse_convolutions(module: M, *inputs: Any, tune: bool = True, cache: bool = True) -> M:
    """Return a copy of any module for fast inference, whose convolutions run as those of `fuse`.

    Batch normalisation and a ReLU that follow a convolution in an nn.Sequential are folded into it. Networks of this library
    inside the module stay as they are: `fuse_convolutions(fuse(unet), images)` fuses both. The names of weights change, so save
    the original.

    Args:
        module: a module of any library, such as a U-Net of segmentation_models_pytorch. It is unchanged.
        inputs: example inputs of its forward method. The module and the copy run on them, and their outputs are compared.
        tune: run each convolution by its fastest implementation, measured for up to four input sizes; see `fuse`.
        cache: keep the results of tuning in the user's cache; see `fuse`.

    Returns:
        The copy, in evaluation mode, in channels_last and with frozen parameters.

    Raises:
        ArgumentError: there is no convolution to fuse, there are no inputs, or the outputs differ because the module uses the
            layers of an nn.Sequential one by one.
    """
    name = type(module).__name__
    if not isinstance(module, nn.Module) or private_torch.uncompiled(module) is not module:
        raise ArgumentError(f"module of type {name} must be an nn.Module that is not compiled")
    if isinstance(module, Backbone):
        raise ArgumentError(f"module of type {name} is a network of this library: use fuse(model)")
    if not inputs:
        raise ArgumentError("inputs must be given, for example images: fuse_convolutions(unet, images)")
    with torch.inference_mode(False), torch.no_grad():  # tensors made in inference mode would not count their changes
        fused = to_channels_last(copy.deepcopy(module).eval().requires_grad_(False))
        expected = list(_tensors(fused(*inputs)))
        if not (convolutions := _replace_convolutions(fused)):
            raise ArgumentError(f"module of type {name} has no convolution of one or two dimensions that can be fused")
        for convolution in convolutions:
            convolution.tuned, convolution.cached = tune, cache
        _check_outputs(fused, inputs, expected)
    if tune:
        warn_if_slow()
    return fused


def _replace_convolutions(module: nn.Module) -> list[ConvAct]:
    """Replace the convolutions in a module, and what follows each in a chain. Return the new ones."""
    if isinstance(module, Backbone | TunableModule):
        return []
    replaced = []
    children, *_ = private_torch.content_tables(module)  # `named_children` leaves out the second use of a layer
    names = [name for name, child in children.items() if child is not None]
    is_chain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
    is_chain = is_chain and not private_torch.is_patched(module)
    for index, name in enumerate(names):
        child = children[name]
        if is_tunable_conv(child) and not private_torch.is_hooked(child):
            replaced.append(_fused_conv(module, child, names[index + 1 :] if is_chain else []))
            setattr(module, name, replaced[-1])
        else:
            replaced += _replace_convolutions(child)
    return replaced


def _fused_conv(chain: nn.Module, conv: Any, following: list[str]) -> ConvAct:
    """Return a convolution with the normalisation and the ReLU that follow it in a chain, which become nn.Identity."""
    for name in following:
        layer = getattr(chain, name)
        if private_torch.is_hooked(layer):
            break
        if is_affine(layer):
            conv = conv_like(conv, *scaled(conv, *norm_affine(layer)))
        elif not (is_relu(layer) or type(layer) is nn.Identity):
            break
        setattr(chain, name, nn.Identity())
        if is_relu(layer):
            return ConvAct(conv, nn.ReLU())
    return ConvAct(conv, nn.Identity())


def _check_outputs(fused: nn.Module, inputs: tuple[Any, ...], expected: list[Tensor]) -> None:
    """Check that a fused module has the outputs of the original.

    Raises:
        ArgumentError: it has not, or it fails.
    """
    name = type(fused).__name__
    remedy = "it may use the layers of an nn.Sequential one by one; fuse other parts of it"
    try:
        outputs = list(_tensors(fused(*inputs)))
    except Exception as error:  # of a forward method that reads a replaced layer
        raise ArgumentError(f"fuse_convolutions: the fused {name} fails: {error}; {remedy}") from error
    for y, reference in zip(outputs, expected, strict=True):
        largest = reference.abs().max()
        difference = (y - reference).abs().max()
        if not difference <= largest * torch.finfo(reference.dtype).eps ** 0.5:
            text = f"differ by {float(difference / largest):.1g} of the largest"
            raise ArgumentError(f"fuse_convolutions: outputs of the fused {name} {text}; {remedy}")


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors in nested lists, tuples and dicts."""
    if isinstance(outputs, Tensor):
        yield from [outputs] if outputs.is_floating_point() and outputs.numel() else []
    elif isinstance(outputs, dict | list | tuple):
        for output in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(output)
