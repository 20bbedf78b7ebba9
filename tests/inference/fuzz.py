"""Compare `fuse` with the unfused model in float64 for random networks, sizes, memory layouts and implementations.

`python tests/inference/fuzz.py --seed 7 --count 100` tries networks 7 to 106 and prints a line for each fault. A crash or a
hang prints the traceback; the last line "case N" says which network it was. Kernels run in guarded memory (`guarded.py`).
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

os.environ["GOMP_SPINCOUNT"] = "0"  # more threads than cores must not wait in a loop
sys.path.insert(0, str(Path(__file__).parents[1]))  # helpers.py

import torch
from guarded import Guard, install
from helpers import fill
from random_networks import random_network, with_odd_strides
from torch import Tensor, nn

import inceptionzoo as iz
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference import tuned
from inceptionzoo.kernels import _buffers as buffers
from inceptionzoo.kernels import _gemm, _jit
from inceptionzoo.nn import build_network

T = TypeVar("T")
TOLERANCE = 1e-4  # of the largest output
SECONDS = 60  # a case that takes longer is a hang
OF_CONVOLUTIONS = "im2col", "im2col", "rows", "rows", "winograd_2", "winograd_4", "winograd_4", "onednn", "torch"
OF_POOLS = "kernel", "kernel", "torch"


class RandomChoice(dict[object, str]):
    """Stands for the measured results: each operation runs by an implementation drawn at random."""

    def __init__(self, pick: Random) -> None:
        super().__init__()
        self.pick = pick

    def get(self, key: Any, default: object = None) -> str:  # noqa: ARG002  # the signature of dict
        is_convolution = len(key[0]) == 7
        return self.setdefault(key, self.pick.choice(OF_CONVOLUTIONS if is_convolution else OF_POOLS))


def layouts(shape: tuple[int, int, int, int], guard: Guard, pick: Random) -> dict[str, Callable[[], Tensor]]:
    """Return functions by name that make a tensor of this shape in guarded memory, with the layout of that name."""
    n, c, h, w = shape
    order = pick.sample(range(4), 4)

    def random(*sides: int) -> Tensor:
        return guard.copy(torch.randn(sides))

    def pixels(*sides: int) -> Tensor:
        return guard.copy(torch.randn(sides).contiguous(memory_format=torch.channels_last))

    return {
        "contiguous": lambda: random(n, c, h, w),
        "channels_last": lambda: pixels(n, c, h, w),
        "transposed": lambda: random(n, c, w, h).transpose(2, 3),
        "every second pixel": lambda: random(n, c, 2 * h, 2 * w)[:, :, ::2, ::2],
        "every second pixel, channels_last": lambda: pixels(n, c, 2 * h, 2 * w)[:, :, 1::2, ::2],
        "cropped": lambda: pixels(n, c, h + 3, w + 2)[:, :, 1 : 1 + h, 2 : 2 + w],
        "rows cropped": lambda: pixels(n, c, h + 3, w)[:, :, 2 : 2 + h],
        "some channels": lambda: pixels(n, c + 3, h, w)[:, 1 : 1 + c],
        "offset": lambda: pixels(n + 1, c, h, w)[1:],
        "every second image": lambda: random(2 * n, c, h, w)[::2],
        "batch second": lambda: random(c, n, h, w).transpose(0, 1),
        "any order": lambda: random(*(shape[axis] for axis in order)).permute(*(order.index(axis) for axis in range(4))),
        "expanded in the batch": lambda: random(1, c, h, w).expand(n, c, h, w),
        "expanded in the channels": lambda: random(n, 1, h, w).expand(n, c, h, w),
        "expanded in the channels, of pixels": lambda: pixels(n, 2, h, w)[:, 1:].expand(n, c, h, w),
        "expanded in space": lambda: random(n, c, 1, 1).expand(n, c, h, w),
        "expanded in a row": lambda: random(n, c, 1, w).expand(n, c, h, w),
        "one value": lambda: random(1, 1, 1, 1).expand(n, c, h, w),
        "overlapping": lambda: random(n + c + h + w - 3).as_strided(shape, (1, 1, 1, 1)),
        "overlapping pixels": lambda: random(n * h * w + c - 1).as_strided(shape, (h * w, 1, w, 1)),
        "odd strides": lambda: with_odd_strides(random(n, c, h, w)),
        "odd strides, channels_last": lambda: with_odd_strides(pixels(n, c, h, w)),
        "negated": lambda: torch.complex(random(n, c, h, w), random(n, c, h, w)).conj().imag,
    }


class Case:
    """A random network, its fused form, and inputs."""

    def __init__(self, number: int, guard: Guard) -> None:
        self.pick, self.guard = Random(number), guard
        guard.at_end = self.pick.random() < 0.5
        torch.manual_seed(number)
        dims = self.pick.choice((1, 2, 2))
        self.model = self.network(dims)
        self.reference, self.fused = copied(self.model).double(), iz.fuse(self.model)
        guard.move(self.fused)
        smallest = self.model.min_input_size
        sides = [smallest + self.pick.choice((0, 0, 1, 2, 5, 9)) for _ in range(2)]
        count = self.pick.choice((1, 1, 1, 2, 2, 3, 5, 8, 17, 33, 70))
        self.shape = count, self.model.in_chans, *sides
        made = layouts(self.shape, guard, self.pick)
        self.layout = self.pick.choice(list(made))
        make = made[self.layout]
        self.make = make if dims == 2 else lambda: make()[:, :, -1]  # a signal is the last row of an image

    def network(self, dims: int) -> iz.Net:
        """Return the first random network that can be built and accepts images or signals of up to 16 pixels."""
        while True:
            try:
                network = random_network(self.pick, dims)
                model = build_network(network, in_chans=self.pick.choice((1, 2, 3, 3, 4, 8)), num_classes=0, global_pool="")
            except iz.ZooError:
                continue
            if model.min_input_size <= 16:
                fill(model)
                for module in model.modules():
                    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                        module.running_mean.uniform_(-0.2, 0.2), module.running_var.uniform_(0.5, 1.5)
                return model

    def __str__(self) -> str:
        stages = ", ".join(f"{name}={layer}" for name, layer in self.model.network.stages)
        return f"{self.layout} {self.shape}, {self.model.network.style}: {stages}"

    def faults_or_error(self) -> Iterator[str]:
        """Yield what is wrong; an exception is wrong, too, unless the unfused model raises it."""
        try:
            yield from self.faults()
        except Exception as error:
            if not (isinstance(error, ValueError) and "more than 1 value per channel" in str(error)):  # group norm of one value
                yield traceback.format_exc(limit=-3)

    def faults(self) -> Iterator[str]:
        """Yield what is wrong."""
        x, threads = self.make(), self.pick.choice((1, 2, 3))
        torch.set_num_threads(threads)
        before, y = x.clone(), self.fused(x)
        kept = y.clone()
        yield from compare("first call", y, self.inexact(x), self.reference(x.double()))
        torch.set_num_threads(self.pick.choice((1, 2, threads)))
        other = self.make()
        z = self.fused(other)
        yield from compare("second call", z, self.inexact(other), self.reference(other.double()))
        if not y.nan_to_num().equal(kept.nan_to_num()):
            yield "stale: the second call changed the first output"
        if not x.equal(before):
            yield "the input was written"
        yield from self.not_finite(other)
        for parameter in self.fused.parameters():
            if self.pick.random() < 0.5:
                parameter.mul_(1.5)
        changed = tuned(copied(self.fused), False)
        exact = copied(changed).double()
        with torch.inference_mode(self.pick.random() < 0.5):
            maps, inexact = self.maps(self.fused, x), zip(*inexact_outputs(changed, exact, x, self.maps), strict=True)
        for ours, theirs, right in zip(maps, inexact, self.maps(exact, x.double()), strict=True):
            yield from compare("changed weights", ours, theirs, right)

    def inexact(self, x: Tensor) -> list[Tensor]:
        """Return outputs of the unfused model that differ by rounding."""
        return inexact_outputs(self.model, self.reference, x, lambda model, images: model(images))

    def maps(self, model: iz.Net, x: Tensor) -> list[Tensor]:
        """Return the output of each stage, run one by one, and of the whole network, which runs as a program."""
        names = [name for name, _ in model.network.stages]
        return [*model.forward_intermediates(x, names, intermediates_only=True), model(x)]

    def not_finite(self, x: Tensor) -> Iterator[str]:
        """Yield the faults of the batch x with an image that is not finite."""
        broken = self.pick.randrange(len(x))
        others = [index for index in range(len(x)) if index != broken]
        values = x.contiguous().clone() if self.pick.random() < 0.5 else pixels_first(x)
        y, value = self.fused(values), self.pick.choice((float("nan"), float("inf"), float("-inf")))
        if self.model.network.style.act == "gelu":  # torch's gelu of inf is nan in some elements of a float32 tensor only
            value = float("nan")
        values[(broken, *map(self.pick.randrange, x.shape[1:]))] = value
        maps = self.maps(self.fused, values), self.maps(self.model, values), self.maps(self.reference, values.double())
        inexact = [y[others] for y in self.inexact(x)]
        yield from compare(f"images beside one of {value}", maps[0][-1][others], inexact, maps[2][-1][others])
        if not maps[0][-1][others].nan_to_num().equal(y[others].nan_to_num()):
            yield f"an image of {value} changed the others"
        for ours, *theirs in zip(*maps, strict=True):
            if not any(ours.isnan().equal(expected.isnan()) for expected in theirs):
                yield f"an image of {value}: {int(ours.isnan().sum())} nan instead of {[int(x.isnan().sum()) for x in theirs]}"


def inexact_outputs(model: iz.Net, exact: iz.Net, x: Tensor, run: Callable[[iz.Net, Tensor], T]) -> list[T]:
    """Return what `run` returns for the float32 model, its group norms in either layout, and for images with other last bits.

    `exact` is the model in float64, which takes these images.
    """
    bits = (torch.full(x.shape, sign * 2.0**-23, dtype=torch.float64) * torch.randn(x.shape).sign() for sign in (1, -1))
    handles = [module.register_forward_pre_hook(to_pixels) for module in model.modules() if isinstance(module, nn.GroupNorm)]
    outputs = [run(model, x)]
    for handle in handles:
        handle.remove()
    return [*outputs, run(model, x), *(run(exact, x.double() * (1 + bit)) for bit in bits)]


def to_pixels(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Lay a group norm's input out as in the fused model, also one of a single channel, which torch calls contiguous.

    torch's group norm of nearly equal values is up to sixteen times less exact in this layout.
    """
    return (pixels_first(inputs[0]),)


def pixels_first(x: Tensor) -> Tensor:
    """Return a copy of x, (n, c, ...), whose memory holds the channels of one pixel after the other."""
    n, c, *sides = x.shape
    return x.new_empty(x.numel()).view(n, *sides, c).movedim(-1, 1).copy_(x)


def copied(model: iz.Net) -> iz.Net:
    """Return a copy of the model with the same specification."""
    return copy.deepcopy(model, {id(model.network): model.network})


def compare(name: str, ours: Tensor, theirs: Iterable[Tensor], exact: Tensor) -> Iterator[str]:
    """Yield the difference of `ours` from `exact` if it is too large; `theirs` are outputs that rounding makes inexact.

    Where these are inexact too, as after a group norm of a few nearly equal values, more is allowed.
    """
    if ours.shape != exact.shape:
        yield f"{name}: shape {tuple(ours.shape)} instead of {tuple(exact.shape)}"
    elif (finite := exact.isfinite()).any():  # a window of nothing but padding has a maximum of -inf
        largest = exact[finite].abs().max().clamp(min=1e-10)
        error, *allowed = (float((values - exact)[finite].abs().max() / largest) for values in (ours, *theirs))
        if not error <= max(TOLERANCE, 20 * max(allowed)):
            yield f"{name}: wrong by {error:.1e} of the largest output"


def main(first: int, count: int, width: int | None) -> int:
    """Try the cases; return the number of cases with a fault. `width` is the vector width of the kernels, in floats."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    guard, failed = install(), 0
    if width:
        _jit.max_vector_width = _gemm.max_vector_width = lambda: width
    with torch.no_grad():
        for number in range(first, first + count):
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            print("case", number, flush=True)
            buffers._THREAD_SCRATCH.arena = buffers.ScratchArena()
            case = Case(number, guard)
            with patch.object(autotune, "_FASTEST", RandomChoice(case.pick)):
                faults = list(case.faults_or_error())
            failed += bool(faults)
            print(*(f"fault {number} {fault}" for fault in faults), *[f"  {case}"] * bool(faults), sep="\n", flush=True)
    faulthandler.cancel_dump_traceback_later()
    print(f"{count} networks, {failed} with faults")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="number of the first network")
    parser.add_argument("--count", type=int, default=100, help="number of networks")
    parser.add_argument("--width", type=int, choices=(8, 16), help="vector width in floats; that of the processor by default")
    options = parser.parse_args()
    sys.exit(bool(main(options.seed, options.count, options.width)))
