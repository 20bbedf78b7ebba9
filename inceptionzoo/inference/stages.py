"""The stages of a fused network: run one after the other, or played by a program for the size of the input."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .blocks import Tuned
from .ways import BOUND, MOST, compiles, marks, plain, probe, still

if TYPE_CHECKING:
    from .program import Program

ROOM = 256 << 20  # bytes that the programs of a model may keep


class Stages(Tuned, nn.Sequential):
    """A network's stages, (n, c, h, w) -> (n, c', h', w')."""

    def __init__(self, stages: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self._programs: dict[Hashable, Program | None] = {}
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
            program = self._program(x)
            return self._run(x) if program is None else program(x)
        finally:
            self._lock.release()

    def _run(self, x: Tensor) -> Tensor:
        for stage in self:
            x = stage(x)
        return x

    def _program(self, x: Tensor) -> Program | None:
        if not self._watch.same():
            self._watch = Watch(self)
            self._programs.clear()
        if not self._watch.playable:
            return None
        situation = x.shape, x.stride(), torch.get_num_threads()
        if situation not in self._programs and len(self._programs) < MOST:
            self._programs[situation] = self._recorded(probe(x)) if compiles() else None
        return self._programs.get(situation)

    def _recorded(self, x: Tensor) -> Program | None:
        """Return a program whose output is that of the stages."""
        from .program import Program, TooLarge

        expected = self._run(x)
        limit = ROOM - sum(program.size for program in self._programs.values() if program)
        try:
            program = Program(self, x, limit)
        except TooLarge:
            return None
        return program if (program(x) - expected).abs().max() <= BOUND * expected.abs().max() else None


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
