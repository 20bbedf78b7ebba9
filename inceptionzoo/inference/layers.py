"""The layers of a fused network, to be run one by one and timed. Importing this module needs llvmlite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from sys import maxsize

import torch
from torch import Tensor, nn

from ..kernels import dense
from ._modules import ConvAct, TunedOp
from ._recording import Recorder
from ._signals import as_map


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a fused network, recorded for one input.

    - `name`: of the module. `implementation`: what tuning chose, or "torch".
    - `macs`: the multiply-adds of a direct convolution; 0 if the layer is none.
    - `steps`: what runs it. Each takes the values of a pass, to which it may append.
    """

    name: str
    implementation: str
    macs: int
    steps: Sequence[Callable[[list[Tensor]], None]]


@dataclass(frozen=True, slots=True)
class _Call:
    """A module that was run, and the maps that it took and gave."""

    module: nn.Module
    x: Tensor
    y: Tensor


class _LayerRecorder(Recorder):
    """Notes which call recorded each launch and each torch call."""

    def __init__(self, x: Tensor, dims: int) -> None:
        super().__init__(x, maxsize, dims)
        self.calls = list[_Call]()  # of each recorded item

    def add(self, module: nn.Module, x: Tensor, out: Tensor | None = None) -> Tensor:
        y = super().add(module, x, out)
        own = len(self.recorded) - len(self.calls)  # what its parts recorded has their calls
        self.calls += [_Call(module, x, y)] * own
        return y


def layer_input(x: Tensor) -> Tensor:
    """Return images (n, c, h, w) or signals (n, c, length) as the map that the layers take."""
    return dense(as_map(x))


class RecordedLayers:
    """The layers of fused stages of `dims` dimensions, recorded for x as `layer_input` returns it.

    They share memory: a pass runs all of them in order, with values that begin with an input of x's size and strides.
    """

    def __init__(self, stages: nn.Sequential, x: Tensor, dims: int) -> None:
        self._recorder = recorder = _LayerRecorder(x, dims)  # owns the memory that launches point to
        with torch.inference_mode(False), torch.no_grad():
            (y,) = recorder.add_stages(list(stages), x, [len(stages) - 1])
        self._result = recorder.locate(y)
        names, start = {id(module): name for name, module in stages.named_modules()}, 0
        self.layers = list[Layer]()
        for _, (call, *others) in groupby(recorder.calls, id):
            stop = start + 1 + len(others)
            name = names.get(id(call.module), names.get(id(getattr(call.module, "conv", None)), ""))
            self.layers.append(Layer(name, _implementation(call), _macs(call), recorder.steps(start, stop)))
            start = stop

    def output(self, values: list[Tensor]) -> Tensor:
        """Return the map of the last stage, (n, c, h, w), after a pass."""
        return self._result.resolve(values)


def _implementation(call: _Call) -> str:
    return call.module.implementation_name(call.x) if isinstance(call.module, TunedOp) else "torch"


def _macs(call: _Call) -> int:
    if not isinstance(call.module, ConvAct):
        return 0
    return call.y.numel() // call.y.shape[1] * call.module.conv.weight.numel()
