"""The stages of a network as a module, with timm's methods for feature maps, checkpointing and parameter groups."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, NoReturn, Self, TypeVar, overload

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, check_flag
from ..spec import PRE, Conv, Entry, Layout, Network, Norm, Pool, feature_levels, resolve_taps, stage_levels
from ..spec import Indices as Indices
from ._attributes import Attributes
from ._blocks import MapStages, Steps
from ._checkpoint import checkpoint
from ._input_check import InputCheck
from ._memory import run_module
from ._parts import FusedRecord
from ._training_ops import TrainingOps, set_training_ops

Out = TypeVar("Out")


class Origin(NamedTuple):
    """The registry entry and the keyword arguments of the network that a model is, or was before stages were removed."""

    entry: Entry
    arguments: dict[str, Any]


class Backbone(Attributes, Generic[Out]):
    """Named stages that run one after the other: (n, in_chans, h, w) -> (n, c, h', w').

    `feature_info` lists the last stage of each resolution, the finest first, as {num_chs, reduction, module}. `reduction` is
    the factor by which the map is smaller than the image. `fused` is True for a model that `fuse` made. `removed` are the
    state-dict keys of stages that were removed after the model was built.
    """

    training_ops: TrainingOps | None = None

    def __init__(self, network: Network, features: nn.Sequential, *, in_chans: int, aux: bool = False) -> None:
        super().__init__()
        self.network, self.features, self.in_chans = network, features, in_chans
        self.grad_checkpointing = self.fused = False
        self.memory_saving = True
        self.fused_record: FusedRecord | None = None  # what `fuse` made
        self.origin: Origin | None = None
        self.removed: tuple[str, ...] = ()
        self.feature_info = self._feature_levels()
        self._input_check = InputCheck(network, in_chans=in_chans, aux=aux)
        self.min_input_size = self._input_check.min_input_size

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts of other libraries' weights that this model, or the one that it was pruned from, can load."""
        return self.origin.entry.layouts if self.origin else ()

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode. A fused model stays in evaluation mode."""
        return super().train(mode and not self.fused)

    if TYPE_CHECKING:  # torch's own method returns Any

        def __call__(self, x: Tensor) -> Out: ...

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script(model)`, which calls this method, with what to use in its place."""
        raise ArgumentError(
            "torch.jit.script cannot compile this model; use torch.jit.script(torch.fx.symbolic_trace(model)), "
            "torch.jit.trace(model, images) or torch.export.export"
        )

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map: (n, in_chans, h, w) -> (n, num_features, h', w').

        Raises:
            InputError: the images are no tensor, or have another dtype, rank, number of channels, or a size that does not fit.
        """
        self._input_check(x, self, head=False)
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
        """Return the last map and a list of the maps of `indices`, in the network's order. Each map is (n, c, h', w').

        Args:
            x: images, (n, in_chans, h, w).
            indices: a list of indices into `feature_info` (negative ones count from the end), stage names ("inception4a"), or
                stage names with ":pre" ("inception4a:pre") for the map before the activation that ends the stage; or an int n
                for the last n levels of `feature_info`; or None for all levels.
            norm: ignored; it is part of timm's signature.
            stop_early: run no stage after the last selected one.
            output_fmt: "NCHW".
            intermediates_only: return only the list.

        Raises:
            ArgumentError: an index is not a level, a name is not a stage, a stage has no map before its activation, or
                `output_fmt` is not "NCHW".
            InputError: the images are no tensor, or have another dtype, rank, number of channels, or a size that does not fit.
        """
        if output_fmt != "NCHW":
            raise ArgumentError(f"output_fmt={output_fmt!r} must be 'NCHW'")
        self._input_check(x, self, head=False)
        x, maps = self.forward_stages(x, self.tap_names(indices), stop_early=stop_early)
        return maps if intermediates_only else (x, maps)

    def forward_stages(self, x: Tensor, names: list[str], *, stop_early: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Return the last map, and the maps of `names`, as `tap_names` gives them, in the network's order."""
        maps: list[Tensor] = []
        if isinstance(self.features, MapStages):
            last = self.network.stages[-1][0]
            if found := self.features.forward_maps(x, names if stop_early or last in names else [*names, last]):
                return found[-1], found[: len(names)]
        for name, stage in self.features.named_children():
            x = self.run_stage(stage, x, maps if name + PRE in names else None)
            if name in names:
                maps.append(x)
            if stop_early and len(maps) == len(names):
                break
        return x, maps

    def run_stage(self, stage: nn.Module, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        """Return `stage(x)`, with activation checkpointing if it is enabled and gradients are needed.

        The map before the activation that ends the stage is appended to `pre_act`, if it is a list.
        """
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, x, pre_act)
        return run_module(stage, x, pre_act, compact=self.memory_saving, operations=self.training_ops)

    def tap_names(self, indices: Indices, *, argument: str = "indices") -> list[str]:
        """Return the names of the maps that `indices` selects, in the network's order: stages, or "STAGE:pre".

        Raises:
            ArgumentError: an index is not a level, a name is not a stage, or a stage has no map before its activation. The
                message names `argument`.
        """
        return resolve_taps(argument, indices, self._level_names(), dict(self.network.stages))

    def level_indices(self, names: list[str]) -> list[int | str]:
        """Return the index of each map in `feature_info`, or its name if it is not there."""
        indices = {name: index for index, name in enumerate(self._level_names())}
        return [indices.get(name, name) for name in names]

    def _feature_levels(self) -> list[dict[str, Any]]:
        return self.stage_info([level.name for level in feature_levels(self.network, self.in_chans)])

    def _level_names(self) -> list[str]:
        return [str(info["module"]).removeprefix("features.") for info in self.feature_info]

    def stage_info(self, names: list[str]) -> list[dict[str, Any]]:
        """Return {num_chs, reduction, module} of each map in `names`, in the network's order."""
        return [
            {"num_chs": level.channels, "reduction": level.reduction, "module": f"features.{name}"}
            for level in stage_levels(self.network, self.in_chans)
            for name in (level.name + PRE, level.name)
            if name in names
        ]

    def truncate(self, last: str) -> bool:
        """Remove the stages after that of the map `last`; return whether there were any."""
        stages = list(self.network.stages)
        end = [name for name, _ in stages].index(last.removesuffix(PRE)) + 1
        if end == len(stages):
            return False
        levels = [level.name for level in feature_levels(self.network, self.in_chans)]
        # the levels of the whole network, not those that the remaining strides suggest: an index keeps its meaning
        taps = [name for name in levels if name in dict(stages[:end])] or [stages[end - 1][0]]
        features, removed = self.features[:end], self.features[end:]
        self.network = replace(self.network, stages=tuple(stages[:end]), aux=(), taps=tuple(taps))
        self.removed += tuple(f"features.{key}" for key in removed.state_dict())
        if self.fused_record is not None:
            self.fused_record = self.fused_record.without([f"features.{name}" for name, _ in stages[end:]])
        features.training = self.features.training
        self.features = features
        self.features.memory_saving = self.memory_saving  # type: ignore[assignment]  # torch expects a tensor or module
        self.features.training_ops = self.training_ops  # type: ignore[assignment]
        self.feature_info = self._feature_levels()
        self._input_check = InputCheck(self.network, in_chans=self.in_chans)
        self.min_input_size = self._input_check.min_input_size
        return True

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Enable activation checkpointing: save only the maps between blocks and recompute the others in the backward pass.

        It saves memory in training. Outputs, gradients and the statistics of torch's batch normalisation do not change; another
        normalisation with running statistics (`norm_layer`) updates them twice.
        """
        check_flag("enable", enable)
        self.grad_checkpointing = enable

    def set_memory_saving(self, enable: bool = True) -> None:
        """Enable or disable the activations and max pools that use less memory than torch's modules. They are enabled at first.

        They step aside by themselves for hooks on the modules concerned, tracers, functorch and forward-mode differentiation.
        Disable them for a tool that compares tensors or the graph of a backward pass without registering hooks. Every
        activation and pool is then called as torch's module. Outputs and gradients do not change.
        """
        check_flag("enable", enable)
        for module in self.modules():
            if hasattr(module, "memory_saving"):
                module.memory_saving = enable  # type: ignore[assignment]  # torch expects a tensor or module

    def copy_settings(self, model: Backbone[Any]) -> None:
        """Set gradient checkpointing, memory saving and the operations of a training step as they are in another model."""
        self.grad_checkpointing = model.grad_checkpointing
        self.set_memory_saving(model.memory_saving)
        set_training_ops(self, model.training_ops)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns of parameter groups from input to output: one per stage, or per resolution if `coarse`."""
        stages = [name for name, _ in self.network.stages]
        level_ends = [stages.index(level.name) for level in feature_levels(self.network, self.in_chans)]
        groups = {name: sum(end < index for end in level_ends) if coarse else index for index, name in enumerate(stages)}
        return {
            "stem": rf"^features\.{stages[0]}\.",
            "blocks": [(rf"^features\.{name}\.", (group,)) for name, group in groups.items()],
        }

    def _reference(self) -> Tensor:
        """Return a tensor with the device and dtype of the stages' weights, those of torch if there are none."""
        parameter = next(self.features.parameters(), None)
        return torch.empty(0) if parameter is None else parameter

    def no_weight_decay(self) -> set[str]:
        """Return an empty set. timm itself excludes biases and normalisation from weight decay."""
        return set()

    def _segments(self) -> list[nn.Module]:
        """Return the modules to checkpoint: each block or sequence of single layers, with the pool behind it.

        The map before a pool, which is larger than the one behind it, is therefore not kept.
        """
        segments: list[list[nn.Module]] = []
        single = False  # whether the stage before is a single layer
        for (_, layer), stage in zip(self.network.stages, self.features.children(), strict=True):
            joins = isinstance(layer, Pool) or (single and isinstance(layer, Conv | Norm))
            if segments and joins:
                segments[-1].append(stage)
            else:
                segments.append([stage])
            single = isinstance(layer, Conv | Norm)
        return list(map(self._steps, segments))

    def _steps(self, stages: list[nn.Module]) -> Steps:
        steps = Steps(*stages)
        steps.memory_saving, steps.training_ops = self.memory_saving, self.training_ops
        return steps
