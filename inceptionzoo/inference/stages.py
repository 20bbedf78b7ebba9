"""The stages of a fused network: run one after the other, or played by a program for the size of the input."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor, nn

from .blocks import Tuned
from .ways import BOUND, MOST, compiles, marks, plain, probe, still

if TYPE_CHECKING:
    from .program import Program

ROOM = 256 << 20  # bytes that the programs of a model may keep
PART = 16  # images of a batch that is played in parts, or a smaller power of two; more at a time are no faster each
TOO_LARGE: Final = "too large"


class Stages(Tuned, nn.Sequential):
    """A network's stages, (n, c, h, w) -> (n, c', h', w')."""

    def __init__(self, stages: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self._programs: dict[Hashable, Program | Literal["too large"] | None] = {}
        self._watch, self._lock = Watch(self), Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_programs": {}, "_watch": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's own
        self._watch, self._lock = Watch(self), Lock()

    def forward(self, x: Tensor) -> Tensor:
        if not self.tuned or plain(x) or not self._lock.acquire(blocking=False):  # held by another thread: not for us
            x = self._run(x)
            return x
        try:
            played = self._played(x)
            return self._run(x) if played is None else played
        finally:
            self._lock.release()

    def _run(self, x: Tensor) -> Tensor:
        for stage in self:
            x = stage(x)
        return x

    def _played(self, x: Tensor) -> Tensor | None:
        """Return the output by a program, part by part where one for the batch would be too large; None where none is."""
        program = self._program(x)
        if program is None:
            return None
        if program != TOO_LARGE:
            return program(x)
        parts = [self._played(part) for part in torch.split(x, min(PART, 1 << (len(x) - 1).bit_length() - 1))]
        whole = [part for part in parts if part is not None]
        if len(whole) == len(parts):
            return torch.cat(whole)
        self._programs[_situation(x)] = None
        return None

    def _program(self, x: Tensor) -> Program | Literal["too large"] | None:
        if not self._watch.same():
            self._watch = Watch(self)
            self._programs.clear()
        if not self._watch.playable:
            return None
        situation = _situation(x)
        if situation not in self._programs and len(self._programs) < MOST:
            self._programs[situation] = self._recorded(probe(x)) if compiles() else None
        return self._programs.get(situation)

    def _recorded(self, x: Tensor) -> Program | Literal["too large"] | None:
        """Return a program whose output is that of the stages, or whether it is the batch that leaves no room for one."""
        from .program import Program, TooLarge

        limit = ROOM - sum(program.size for program in self._programs.values() if isinstance(program, Program))
        try:
            program = Program(self, x, limit)
        except TooLarge:
            return TOO_LARGE if len(x) > 1 else None
        expected = self._run(x)
        return program if (program(x) - expected).abs().max() <= BOUND * expected.abs().max() else None


def _situation(x: Tensor) -> Hashable:
    """Return what a program is for."""
    return x.shape, x.stride(), torch.get_num_threads()


class Watch:
    """What a program relies on: which modules there are, and with which weights. `playable`: nobody trains or hooks them."""

    def __init__(self, module: nn.Module) -> None:
        modules = list(module.modules())
        held = [part for one in modules for part in (one._modules, one._parameters, one._buffers) if part]
        self.held = [(part, list(part.values())) for part in held]
        self.hooks = [hooks for one in modules for hooks in (one._forward_hooks, one._forward_pre_hooks)]
        self.tensors = [*module.parameters(), *module.buffers()]
        self.marks = [] if any(tensor.is_inference() for tensor in self.tensors) else list(map(marks, self.tensors))

    @property
    def playable(self) -> bool:
        return not any(self.hooks) and all(map(still, self.tensors))

    def same(self) -> bool:
        """Return whether all is as it was; of weights made in inference mode nobody could tell, and none are played."""
        return all(list(map(id, part.values())) == list(map(id, values)) for part, values in self.held) and (
            not self.marks or list(map(marks, self.tensors)) == self.marks
        )
