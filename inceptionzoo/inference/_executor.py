"""The stages of a fused network: run one after the other, or played by a program for the size of the input."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ._autotune import MAX_INPUT_SIZES, MAX_RELATIVE_ERROR, has_jit, is_frozen, must_use_torch, random_like, tensor_version
from ._modules import TunableModule

if TYPE_CHECKING:
    from ._recording import Program

MAX_PROGRAM_BYTES = 256 << 20  # bytes that the programs of a model may keep
MAX_IMAGES = 16  # images of a batch that is played in parts, or a smaller power of two; more at a time are no faster each


class FusedStages(TunableModule, nn.Sequential):
    """A network's stages, (n, c, h, w) -> (n, c', h', w')."""

    def __init__(self, stages: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self._programs: dict[Hashable, Program | SplitBatchProgram | None] = {}
        self._watch, self._lock = ModelFingerprint(self), Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_programs": {}, "_watch": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's own
        self._watch, self._lock = ModelFingerprint(self), Lock()

    def forward(self, x: Tensor) -> Tensor:
        if not self.tuned or must_use_torch(x) or not self._lock.acquire(blocking=False):  # held by another thread: not for us
            x = self._run(x)
            return x
        try:
            program = self._program(x)
            return self._run(x) if program is None else program(x)
        finally:
            self._lock.release()

    def _run(self, x: Tensor) -> Tensor:
        for stage in self:
            x = stage(x)
        return x

    def _program(self, x: Tensor) -> Program | SplitBatchProgram | None:
        if not self._watch.same():
            self._watch = ModelFingerprint(self)
            self._programs.clear()
        return self._found(x) if self._watch.playable else None

    def _found(self, x: Tensor, others: int = 0) -> Program | SplitBatchProgram | None:
        """Return what plays inputs like x, made now where there is a place for it and for `others` that wait for it."""
        situation = _program_key(x)
        if situation not in self._programs and len(self._programs) + others < MAX_INPUT_SIZES:
            self._programs[situation] = self._recorded(random_like(x), others) if has_jit() else None
        return self._programs.get(situation)

    def _recorded(self, x: Tensor, others: int) -> Program | SplitBatchProgram | None:
        """Return a program whose output is that of the stages, or several, where one for the batch would be too large."""
        from ._recording import Program, ProgramTooLargeError

        limit = MAX_PROGRAM_BYTES - sum(program.size for program in self._programs.values() if program)
        try:
            program = Program(self, x, limit)
        except ProgramTooLargeError:
            return self._in_parts(x, others + 1) if len(x) > 1 else None
        expected = self._run(x)
        return program if (program(x) - expected).abs().max() <= MAX_RELATIVE_ERROR * expected.abs().max() else None

    def _in_parts(self, x: Tensor, others: int) -> SplitBatchProgram | None:
        count = min(MAX_IMAGES, 1 << (len(x) - 1).bit_length() - 1)
        programs = [self._found(part, others) for part in torch.split(x, count)]
        found = [program for program in programs if program]
        return SplitBatchProgram(count, found) if len(found) == len(programs) else None


class SplitBatchProgram:
    """Programs that play a batch one after the other: `count` images each, and the last one what is left."""

    size = 0  # bytes: theirs count where they are kept

    def __init__(self, count: int, programs: Sequence[Program | SplitBatchProgram]) -> None:
        self.count, self.programs = count, programs

    def __call__(self, x: Tensor) -> Tensor:
        parts = torch.split(x, self.count)
        return torch.cat([program(part) for program, part in zip(self.programs, parts, strict=True)])


def _program_key(x: Tensor) -> Hashable:
    """Return what a program is for."""
    return x.shape, x.stride(), torch.get_num_threads()


class ModelFingerprint:
    """What a program relies on: which modules there are, and with which weights. `playable`: nobody trains or hooks them."""

    def __init__(self, module: nn.Module) -> None:
        modules = list(module.modules())
        held = [part for one in modules for part in (one._modules, one._parameters, one._buffers) if part]
        self.held = [(part, list(part.values())) for part in held]
        self.hooks = [hooks for one in modules for hooks in (one._forward_hooks, one._forward_pre_hooks)]
        self.tensors = [*module.parameters(), *module.buffers()]
        self.marks = [] if any(tensor.is_inference() for tensor in self.tensors) else list(map(tensor_version, self.tensors))

    @property
    def playable(self) -> bool:
        return not any(self.hooks) and all(map(is_frozen, self.tensors))

    def same(self) -> bool:
        """Return whether all is as it was; of weights made in inference mode nobody could tell, and none are played."""
        return all(list(map(id, part.values())) == list(map(id, values)) for part, values in self.held) and (
            not self.marks or list(map(tensor_version, self.tensors)) == self.marks
        )
