"""The check of a model's input images.

Shapes: n images, c channels, h x w pixels. In one dimension an input is (n, c, length), in three (n, c, depth, h, w).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import InputError, SpecError
from ..spec import AXES, Head, Network, Shape, format_size, min_input_size, network_cost
from . import _private_torch as private_torch
from ._layers import CONVOLUTIONS, training_batch_norms
from ._memory import is_tracing

FOREIGN = "builtins", "numpy", "PIL"  # modules of types that are given in place of a tensor


class InputCheck:
    """Check that a network can process a batch of images. Accepted image sizes are cached.

    `min_input_size` is the side in pixels of the smallest square image, with `aux` of one that the auxiliary heads accept too.
    """

    def __init__(self, network: Network, *, in_chans: int, aux: bool = False) -> None:
        self.network, self.in_chans, self.aux = network, in_chans, aux
        self.expected = f"(n, {in_chans}, {', '.join(AXES[network.spatial_dims])})"
        self.min_input_size = min_input_size(network, in_channels=in_chans, aux=aux)
        self._normalized_positions: dict[tuple[tuple[int, ...], bool, bool], int | None] = {}  # see `Cost.normed`

    def __call__(self, x: Tensor, model: nn.Module, *, head: bool, aux: bool = False) -> None:
        """Check the images x: (n, in_chans, h, w). Do nothing while `model` is traced, exported or compiled.

        `head` and `aux` say whether the images pass the head and the auxiliary heads.

        Raises:
            InputError: the images are no tensor, have another dtype than the model, another rank or number of channels, or a
                size that the network does not accept.
        """
        if is_tracing():
            return
        if isinstance(x, Tensor):
            normed = self._check_shape(x, head=head, aux=aux)
            self._check_dtype(x, model)
            self._check_batch_norm(x, model, normed)
        elif type(x).__module__.partition(".")[0] in FOREIGN:  # a tracer has other types
            raise InputError(f"images of type {type(x).__name__} must be a Tensor of shape {self.expected}")

    def _check_shape(self, x: Tensor, *, head: bool, aux: bool) -> int | None:
        rank = self.network.spatial_dims + 2
        if x.ndim != rank or x.shape[1] != self.in_chans:
            raise InputError(f"images of shape {tuple(x.shape)} must have shape {self.expected}{self._reshape_hint(x, rank)}")
        return self.check_size(tuple(x.shape[2:]), head=head, aux=aux)

    def check_size(self, size: tuple[int, ...], *, head: bool = True, aux: bool = True) -> int | None:
        """Check that the network accepts images of this size; return `Cost.normed`.

        Raises:
            InputError: it does not.
        """
        aux = aux and self.aux
        if (size, head, aux) in self._normalized_positions:
            return self._normalized_positions[size, head, aux]
        network = self.network if head else replace(self.network, head=Head())
        try:
            cost = network_cost(network, Shape(self.in_chans, *size), 1, aux=aux)
        except (InputError, SpecError) as error:
            sides, smallest = format_size(size), min_input_size(self.network, in_channels=self.in_chans, aux=aux)
            if min(size) < smallest and len(size) < 3:  # the least number of frames is another one
                heads = " with auxiliary heads" if aux else ""
                raise InputError(
                    f"images of {sides} px are too small: the smallest side is {smallest} px{heads}; resize them"
                ) from error
            remedy = "resize them" if len(size) < 3 else "use larger volumes, or clips of more frames"
            raise InputError(f"images of {sides} px do not fit: {error}; {remedy}") from error
        self._normalized_positions[size, head, aux] = cost.normed
        return cost.normed

    def _reshape_hint(self, x: Tensor, rank: int) -> str:
        if x.ndim == rank - 1 and x.shape[0] == self.in_chans:
            return "; a batch of one image is image[None]"
        if x.ndim == rank and x.shape[-1] == self.in_chans:
            order = ", ".join(map(str, (0, rank - 1, *range(1, rank - 1))))
            return f"; put the channels first: images.permute({order})"
        if x.ndim == rank == 5 and x.shape[2] == self.in_chans:
            return "; put the channels before the frames: images.transpose(1, 2)"
        return f"; create_model(..., in_chans={x.shape[1]}) makes a model for such images" if x.ndim == rank else ""

    def _check_dtype(self, x: Tensor, model: nn.Module) -> None:
        """Check that the images have the dtype of the first convolution, unless something of the user's own may change it."""
        first = _first_leaf(model)
        if type(first) not in CONVOLUTIONS or x.dtype == first.weight.dtype:
            return
        is_castable = x.is_floating_point() and x.dtype != torch.float64  # autocast leaves the others as they are
        if (is_castable and torch.is_autocast_enabled(x.device.type)) or any(map(private_torch.is_hooked, model.modules())):
            return
        dtype = first.weight.dtype
        remedy = "normalise them, as transforms(model) does" if not x.is_floating_point() else f"use images.to({dtype})"
        raise InputError(f"images of {x.dtype} must be of {dtype}, as the model's weights; {remedy}")

    def _check_batch_norm(self, x: Tensor, model: nn.Module, normed: int | None) -> None:
        if model.training and len(x) == 1 and normed == 1 and training_batch_norms(model):
            sides = format_size(tuple(x.shape[2:]))
            raise InputError(
                f"one image of {sides} px gives batch normalisation a single value per channel in training; "
                "use two images or more (drop_last=True drops a last batch of one), larger images, or model.eval()"
            )


def _first_leaf(module: nn.Module) -> nn.Module:
    while (child := next(module.children(), None)) is not None:
        module = child
    return module
