"""The stages of a fused network: run one by one, or as a program, which `_recording` makes for one input layout."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..kernels import dense, has_jit, replace_not_finite, write_results
from ..nn import MapStages
from ._autotune import MAX_INPUT_SIZES, MAX_RELATIVE_ERROR, random_like
from ._conditions import ChangedLayoutError, must_use_torch
from ._fingerprint import ModelFingerprint, is_known_per_image
from ._modules import TunableModule
from ._signals import as_map, like_input

if TYPE_CHECKING:
    from ._program import Program

Outputs = tuple[int, ...]  # indices of the stages whose maps a program returns, in order
MAX_PROGRAM_BYTES = 256 << 20  # memory that all programs of a model may use together
INFERENCE_TENSORS_WARNING = (
    "the fused model runs by torch's own operations, which is slower: its weights were loaded or copied in "
    "torch.inference_mode() and do not count their changes; load or copy it outside of inference mode"
)
MAX_IMAGES = 16  # most images in a part of a split batch; larger parts are no faster per image


class FusedStages(TunableModule, MapStages):
    """The stages of a fused network: (n, c, h, w) -> (n, c', h', w'), or for signals (n, c, length) -> (n, c', length')."""

    def __init__(self, stages: OrderedDict[str, nn.Module], dims: int) -> None:
        super().__init__(dims)
        for name, stage in stages.items():
            self.add_module(name, stage)
        self._programs: dict[Hashable, Program | SplitBatchProgram | None] = {}
        self._fingerprint: ModelFingerprint | None = None  # of the stages that `_programs` were recorded from
        self._changes_itself = False  # when it runs, by a module of the user's own
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_programs": {}, "_fingerprint": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's own
        self._lock = Lock()

    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        # torch's method passes the stages alone
        stages = FusedStages(OrderedDict(list(self.named_children())[index]), self.dims)
        stages.tuned, stages.cached = self.tuned, self.cached
        return stages

    def forward(self, x: Tensor) -> Tensor:
        maps = self._run_recorded(x, (len(self) - 1,))
        x = super().forward(x) if maps is None else maps[0]  # type: ignore[no-untyped-call]  # torch's own
        return x

    def forward_maps(self, x: Tensor, names: Sequence[str]) -> list[Tensor] | None:
        stages = [name for name, _ in self.named_children()]
        if not names or not set(names) <= set(stages):
            return None
        return self._run_recorded(x, tuple(map(stages.index, names)))

    def _run_recorded(self, x: Tensor, outputs: Outputs) -> list[Tensor] | None:
        """Return the maps of the stages `outputs` by a program, or None if the stages must run one by one."""
        if not self.tuned or self._changes_itself or must_use_torch(x, self.dims) or self._lock.locked():
            return None  # if it is locked, another thread uses the programs
        with self._lock:
            maps = self._run_program(dense(as_map(x)), outputs)
        if maps is None:
            return None
        expected = cache(partial(self._run_maps, x, outputs))  # programs carry nan and inf further than torch does
        return [replace_not_finite(like_input(y, x), partial(_take, expected, index)) for index, y in enumerate(maps)]

    def _run_program(self, x: Tensor, outputs: Outputs) -> list[Tensor] | None:
        """Return the maps, or None if the stages must run one by one."""
        program = self._program(x, outputs)
        try:
            return None if program is None else program(x)
        except ChangedLayoutError:  # of the result of a module that is not ours
            self._programs.clear()
            return None

    def _run_maps(self, x: Tensor, outputs: Outputs) -> list[Tensor]:
        maps: dict[int, Tensor] = {}
        for index, stage in enumerate(list(self)[: max(outputs) + 1]):
            x = stage(x)
            if index in outputs:
                maps[index] = x
        return [maps[index] for index in outputs]

    def _program(self, x: Tensor, outputs: Outputs) -> Program | SplitBatchProgram | None:
        """Return the program for x, or None if the stages must run one by one."""
        if self._fingerprint is None or not self._fingerprint.is_current():
            self._programs.clear()  # first: an interrupt between the two lines must not leave programs of other weights
            self._fingerprint = ModelFingerprint(self)
            if self._fingerprint.has_inference_tensors:
                warnings.warn(INFERENCE_TENSORS_WARNING, stacklevel=2)
        if not self._fingerprint.is_recordable:
            return None
        key = _program_key(x, outputs)
        if key not in self._programs and len(self._programs) < MAX_INPUT_SIZES:
            self._add_program(x, outputs, self._fingerprint)
        return self._programs.get(key)

    def _add_program(self, x: Tensor, outputs: Outputs, before: ModelFingerprint) -> None:
        """Record a program for x's layout.

        If a module of the user's own changes a buffer when it runs, the buffers get their values of before, and nothing is
        recorded from now on: each run would change the model, and so end the program.
        """
        buffers = [(buffer, buffer.clone()) for buffer in self.buffers()]
        self._cached_program(x, outputs)
        if before.is_current():
            return
        self._programs.clear()
        self._changes_itself = True
        for buffer, value in buffers:
            buffer.copy_(value)

    def _cached_program(self, x: Tensor, outputs: Outputs, reserved: int = 0) -> Program | SplitBatchProgram | None:
        """Return the cached program for x's layout; record one if the cache has room for it and for `reserved` others."""
        key = _program_key(x, outputs)
        if key not in self._programs and len(self._programs) + reserved < MAX_INPUT_SIZES:
            self._programs[key] = self._record(random_like(x), outputs, reserved) if has_jit() else None
            write_results()
        return self._programs.get(key)

    def _record(self, x: Tensor, outputs: Outputs, reserved: int) -> Program | SplitBatchProgram | None:
        """Return a program for x, split if the whole batch needs too much memory.

        None if its outputs are inaccurate, or if a result of the user's own modules is not a float32 map.
        """
        from ._recording import ProgramTooLargeError, record

        limit = MAX_PROGRAM_BYTES - sum(program.size for program in self._programs.values() if program)
        try:
            program = record(list(self), x, outputs, limit, self.dims)
        except ProgramTooLargeError:
            return self._record_parts(x, outputs, reserved + 1) if len(x) > 1 else None
        except ChangedLayoutError:
            return None
        expected = map(as_map, self._run_maps(x if self.dims == 2 else x.squeeze(2), outputs))
        return program if all(map(_is_accurate, program(x), expected)) else None

    def _record_parts(self, x: Tensor, outputs: Outputs, reserved: int) -> SplitBatchProgram | None:
        """Return a program that runs x in parts of a power of two images.

        None if there is no program for one of them, or if an output may depend on other images of the batch.
        """
        if not all(map(is_known_per_image, self.modules())):
            return None
        count = min(MAX_IMAGES, 1 << (len(x) - 1).bit_length() - 1)
        programs = [self._cached_program(dense(part), outputs, reserved) for part in torch.split(x, count)]
        recorded = [program for program in programs if program]
        return SplitBatchProgram(count, recorded) if len(recorded) == len(programs) else None


class SplitBatchProgram:
    """Programs that run a batch in parts of `count` images; the last part may be smaller."""

    size = 0  # bytes; the programs of the parts are in the cache too and are counted there

    def __init__(self, count: int, programs: Sequence[Program | SplitBatchProgram]) -> None:
        self.count, self.programs = count, programs

    def __call__(self, x: Tensor) -> list[Tensor]:
        parts = map(dense, torch.split(x, self.count))
        maps = [program(part) for program, part in zip(self.programs, parts, strict=True)]
        return list(map(torch.cat, zip(*maps, strict=True)))


def _program_key(x: Tensor, outputs: Outputs) -> Hashable:
    """Return the layout of the dense input x, the outputs and the number of threads that a program is recorded for."""
    return x.shape, x.stride(), outputs, torch.get_num_threads()


def _take(compute: Callable[[], list[Tensor]], index: int) -> Tensor:
    return compute()[index]


def _is_accurate(y: Tensor, expected: Tensor) -> bool:
    return bool((y - expected).abs().max() <= MAX_RELATIVE_ERROR * expected.abs().max())
