"""The feature extractor of a network: intermediate maps, checkpointing, parameter groups, all by timm's names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Generic, Literal, Self, TypeVar, overload

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, InputError, SpecError, check_flag
from ..spec import Conv, Network, Norm, Pool, Shape, feature_levels, min_input_size, network_cost, resolve_stages, stage_levels
from ..spec import Indices as Indices
from ._blocks import training_batch_norms
from ._checkpoint import checkpoint
from ._memory import is_tracing

Out = TypeVar("Out")


class Backbone(nn.Module, Generic[Out]):
    """Named stages, one after the other: (n, in_chans, h, w) -> (n, c, h', w'). `fused` says that they are `fuse`'s.

    `feature_info` lists the last stage of each resolution: {num_chs, reduction, module}, the finest first.
    """

    def __init__(self, network: Network, features: nn.Sequential, *, in_chans: int, aux: bool = False) -> None:
        super().__init__()
        self.network, self.features, self.in_chans = network, features, in_chans
        self.grad_checkpointing = self.fused = False
        self.feature_info = self._levels()
        self._aux = aux
        self._sizes: dict[tuple[int, int], int | None] = {}  # sizes that fit: fewest positions normalised
        self.min_input_size = min_input_size(network, in_channels=in_chans, aux=aux)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; a fused model stays in evaluation mode."""
        return super().train(mode and not self.fused)

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Out:
        """Return `forward(x)`, after a check of the images that tracing, export and compilation never meet.

        Raises:
            InputError: the images have another rank or number of channels, or are too small.
        """
        self._check(x)
        result: Out = super().__call__(x, *args, **kwargs)
        return result

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map: (n, c, h, w) -> (n, num_features, h', w').

        Raises:
            InputError: as a call of the model.
        """
        self._check(x)
        if not (self.grad_checkpointing and torch.is_grad_enabled()):
            x = self.features(x)
            return x
        for segment in self._segments():
            x = checkpoint(segment, x)
        return x

    @overload
    def forward_intermediates(
        self, x: Tensor, indices: Indices = None, norm: bool = False, stop_early: bool = False, output_fmt: str = "NCHW",
        intermediates_only: Literal[False] = False,
    ) -> tuple[Tensor, list[Tensor]]: ...  # fmt: skip
    @overload
    def forward_intermediates(
        self, x: Tensor, indices: Indices = None, norm: bool = False, stop_early: bool = False, output_fmt: str = "NCHW",
        *, intermediates_only: Literal[True],
    ) -> list[Tensor]: ...  # fmt: skip
    def forward_intermediates(
        self,
        x: Tensor,
        indices: Indices = None,
        norm: bool = False,  # noqa: ARG002  # timm's signature
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> tuple[Tensor, list[Tensor]] | list[Tensor]:
        """Return (last map, maps), or the maps alone: those of `indices`, in the network's order, each (n, c, h', w').

        `indices` are levels of `feature_info` (negative from the end), names of stages ("inception4a"), the last n levels
        where it is an int, or all levels where it is None. `norm` has nothing to do here. `stop_early` runs no stage after
        the last that is wanted.

        Raises:
            ArgumentError: an index is no level, a name no stage, or `output_fmt` is not "NCHW".
            InputError: as a call of the model.
        """
        if output_fmt != "NCHW":
            raise ArgumentError(f"output_fmt={output_fmt!r} must be 'NCHW'")
        self._check(x)
        x, taps = self.run_taps(x, self.tap_names(indices), stop_early=stop_early)
        return taps if intermediates_only else (x, taps)

    def run_taps(self, x: Tensor, names: list[str], *, stop_early: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Return the last map, and the maps of the stages of these names, in the network's order."""
        taps: list[Tensor] = []
        for name, stage in self.features.named_children():
            x = self.run(stage, x)
            if name in names:
                taps.append(x)
            if stop_early and len(taps) == len(names):
                break
        return x, taps

    def run(self, stage: nn.Module, x: Tensor) -> Tensor:
        """Return `stage(x)`, checkpointed where that is set and gradients are taken."""
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, x)
        result: Tensor = stage(x)
        return result

    def tap_names(self, indices: Indices, *, argument: str = "indices") -> list[str]:
        """Return the names of the stages that `indices` mean, in the network's order.

        Raises:
            ArgumentError: an index is no level, or a name no stage; the message calls the indices `argument`.
        """
        return resolve_stages(argument, indices, self._level_names(), [name for name, _ in self.network.stages])

    def tap_indices(self, names: list[str]) -> list[int | str]:
        """Return the level's number for each stage that is one, else its name."""
        named = {name: index for index, name in enumerate(self._level_names())}
        return [named.get(name, name) for name in names]

    def _levels(self) -> list[dict[str, Any]]:
        return self.stage_info([level.name for level in feature_levels(self.network, self.in_chans)])

    def _level_names(self) -> list[str]:
        return [str(info["module"]).removeprefix("features.") for info in self.feature_info]

    def stage_info(self, names: list[str]) -> list[dict[str, Any]]:
        """Return {num_chs, reduction, module} of these stages."""
        return [
            {"num_chs": level.channels, "reduction": level.reduction, "module": f"features.{level.name}"}
            for level in stage_levels(self.network, self.in_chans)
            if level.name in names
        ]

    def truncate(self, last: str) -> bool:
        """Drop the stages after `last`; return whether there were any."""
        stages = list(self.network.stages)
        end = [name for name, _ in stages].index(last) + 1
        if end == len(stages):
            return False
        self.network = replace(self.network, stages=tuple(stages[:end]), aux=())
        self.features = self.features[:end]
        self.feature_info = self._levels()
        self._aux, self._sizes = False, {}
        self.min_input_size = min_input_size(self.network, in_channels=self.in_chans)
        return True

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the maps between blocks for the backward pass, and compute the others again there.

        Outputs, gradients and batch statistics are those without it.
        """
        check_flag("enable", enable)
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's table of parameter groups, from the image on: a group a stage, or a resolution where `coarse`."""
        stages = [name for name, _ in self.network.stages]
        ends = [stages.index(level.name) for level in feature_levels(self.network, self.in_chans)]
        groups = {name: sum(end < index for end in ends) if coarse else index for index, name in enumerate(stages)}
        return {
            "stem": rf"^features\.{stages[0]}\.",
            "blocks": [(rf"^features\.{name}\.", (group,)) for name, group in groups.items()],
        }

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that must not decay: none by name; timm leaves out biases and norms itself."""
        return set()

    def _segments(self) -> list[nn.Module]:
        """Return what is checkpointed as one: a block, or a run of plain layers up to its pool."""
        segments: list[nn.Module] = []
        plain: list[nn.Module] = []
        for (_, layer), stage in zip(self.network.stages, self.features.children(), strict=True):
            if isinstance(layer, Conv | Norm | Pool):
                plain.append(stage)
            if plain and not isinstance(layer, Conv | Norm):
                segments.append(nn.Sequential(*plain))
                plain = []
            if not isinstance(layer, Conv | Norm | Pool):
                segments.append(stage)
        return [*segments, nn.Sequential(*plain)] if plain else segments

    def _check(self, x: Tensor) -> None:
        if isinstance(x, Tensor) and not is_tracing():
            self._check_images(x)

    def _check_images(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_chans:
            raise InputError(f"images of shape {tuple(x.shape)} must have shape (n, {self.in_chans}, height, width)")
        count, _, height, width = x.shape
        if min(height, width) < self.min_input_size:
            raise InputError(
                f"images of {height}x{width} px are too small: the smallest side is {self.min_input_size} px; resize them"
            )
        if (height, width) not in self._sizes:
            try:
                self._sizes[height, width] = self._normed(height, width)
            except (InputError, SpecError) as error:
                raise InputError(f"images of {height}x{width} px do not fit: {error}; resize them") from error
        alone = self.training and count == 1 and self._sizes[height, width] == 1
        if alone and training_batch_norms(self):
            raise InputError(
                f"one image of {height}x{width} px leaves batch normalisation a single value a channel in training; "
                "use two images or more (drop_last=True drops a last batch of one), larger ones, or model.eval()"
            )

    def _normed(self, height: int, width: int) -> int | None:
        return network_cost(self.network, Shape(self.in_chans, height, width), 1, aux=self._aux).normed
