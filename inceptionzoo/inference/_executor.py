"""The stages of a fused network: run one by one, or as a program, which `_recording` makes for one input layout."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..kernels import dense, has_jit, replace_not_finite, write_results
from ._autotune import MAX_INPUT_SIZES, MAX_RELATIVE_ERROR, random_like
from ._conditions import ChangedLayoutError, must_use_torch
from ._fingerprint import ModelFingerprint
from ._modules import TunableModule
from ._signals import as_map, like_input, run_on_map

if TYPE_CHECKING:
    from ._recording import Program

MAX_PROGRAM_BYTES = 256 << 20  # memory that all programs of a model may use together
INFERENCE_TENSORS_WARNING = (
    "the fused model runs by torch's own operations, which is slower: its weights were loaded or copied in "
    "torch.inference_mode() and do not count their changes; load or copy it outside of inference mode"
)
MAX_IMAGES = 16  # most images in a part of a split batch; larger parts are no faster per image


class FusedStages(TunableModule, nn.Sequential):
    """The stages of a fused network: (n, c, h, w) -> (n, c', h', w'), or for signals (n, c, length) -> (n, c', length')."""

    def __init__(self, stages: OrderedDict[str, nn.Module], dims: int) -> None:
        super().__init__(dims)
        for name, stage in stages.items():
            self.add_module(name, stage)
        self._programs: dict[Hashable, Program | SplitBatchProgram | None] = {}
        self._fingerprint: ModelFingerprint | None = None  # of the stages that `_programs` were recorded from
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_programs": {}, "_fingerprint": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's own
        self._lock = Lock()

    def forward(self, x: Tensor) -> Tensor:
        if not self.tuned or must_use_torch(x, self.dims) or self._lock.locked():  # another thread uses the programs
            x = self._run_stages(x)
            return x
        with self._lock:
            y = self._run_program(dense(as_map(x)))
        if y is None:
            return self._run_stages(x)
        y = like_input(y, x)
        return replace_not_finite(y, partial(self._run_stages, x))  # programs carry nan and inf further than torch does

    def _run_program(self, x: Tensor) -> Tensor | None:
        """Return the output, or None if the stages must run one by one."""
        program = self._program(x)
        try:
            return None if program is None else program(x)
        except ChangedLayoutError:  # of the result of a module that is not ours
            self._programs.clear()
            return None

    def _run_stages(self, x: Tensor) -> Tensor:
        for stage in self:
            x = stage(x)
        return x

    def _program(self, x: Tensor) -> Program | SplitBatchProgram | None:
        """Return the program for x, or None if the stages must run one by one."""
        if self._fingerprint is None or not self._fingerprint.is_current():
            self._programs.clear()  # first: an interrupt between the two lines must not leave programs of other weights
            self._fingerprint = ModelFingerprint(self)
            if self._fingerprint.has_inference_tensors:
                warnings.warn(INFERENCE_TENSORS_WARNING, stacklevel=2)
        return self._cached_program(x) if self._fingerprint.is_recordable else None

    def _cached_program(self, x: Tensor, reserved: int = 0) -> Program | SplitBatchProgram | None:
        """Return the cached program for x's layout; record one if the cache has room for it and for `reserved` others."""
        key = _program_key(x)
        if key not in self._programs and len(self._programs) + reserved < MAX_INPUT_SIZES:
            self._programs[key] = self._record(random_like(x), reserved) if has_jit() else None
            write_results()
        return self._programs.get(key)

    def _record(self, x: Tensor, reserved: int) -> Program | SplitBatchProgram | None:
        """Return a program for x, split if the whole batch needs too much memory.

        None if its outputs are inaccurate, or if a result of the user's own modules is not a float32 map.
        """
        from ._recording import Program, ProgramTooLargeError

        limit = MAX_PROGRAM_BYTES - sum(program.size for program in self._programs.values() if program)
        try:
            program = Program(self, x, limit, self.dims)
        except ProgramTooLargeError:
            return self._record_parts(x, reserved + 1) if len(x) > 1 else None
        except ChangedLayoutError:
            return None
        expected = run_on_map(self._run_stages, x, self.dims)
        max_error = MAX_RELATIVE_ERROR * expected.abs().max()
        return program if (program(x) - expected).abs().max() <= max_error else None

    def _record_parts(self, x: Tensor, reserved: int) -> SplitBatchProgram | None:
        """Return a program that runs x in parts of a power of two images; None if there is no program for one of them."""
        count = min(MAX_IMAGES, 1 << (len(x) - 1).bit_length() - 1)
        programs = [self._cached_program(dense(part), reserved) for part in torch.split(x, count)]
        recorded = [program for program in programs if program]
        return SplitBatchProgram(count, recorded) if len(recorded) == len(programs) else None


class SplitBatchProgram:
    """Programs that run a batch in parts of `count` images; the last part may be smaller."""

    size = 0  # bytes; the programs of the parts are in the cache too and are counted there

    def __init__(self, count: int, programs: Sequence[Program | SplitBatchProgram]) -> None:
        self.count, self.programs = count, programs

    def __call__(self, x: Tensor) -> Tensor:
        parts = map(dense, torch.split(x, self.count))
        return torch.cat([program(part) for program, part in zip(self.programs, parts, strict=True)])


def _program_key(x: Tensor) -> Hashable:
    """Return the layout of the dense input x and the number of threads that a program is recorded for."""
    return x.shape, x.stride(), torch.get_num_threads()
