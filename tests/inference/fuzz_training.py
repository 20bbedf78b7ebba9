"""Random convolutions, normalisations and max pools, trained by kernels in guarded memory and compared with torch in float64.

An error may be ten times that of torch in float32: a sum of values that cancel has few exact digits.

    python fuzz_training.py --seed 0 --count 200 --width 8

One float too far ends the process with SIGSEGV. "case N" names the operation that ran last.
"""

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # guarded.py

import torch
from guarded import Guard, install
from torch import Tensor, nn

from inceptionzoo.kernels import _gemm, _jit
from inceptionzoo.kernels._batch_norm import normalize_relu
from inceptionzoo.kernels._convolution_training import ConvSettings, convolve
from inceptionzoo.kernels._max_pool import supports
from inceptionzoo.kernels._max_pool_training import max_pool

TOLERANCE = 5e-5  # relative to the largest value
Case = tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor], Callable[[nn.Module, Tensor], Tensor], int]


def convolution(rng: random.Random) -> Case:
    sides = rng.choice([(3, 3), (5, 5), (1, 3), (3, 1), (5, 3)])
    padding = tuple(rng.randrange(side) for side in sides)
    channels = rng.choice([8, 16, 24, 40])
    conv = nn.Conv2d(channels, rng.choice([8, 16, 56]), sides, padding=padding, bias=rng.random() < 0.5)
    settings = ConvSettings("winograd", (1, 1), padding, (1, 1), 1)
    return conv, lambda conv, x: convolve(x, conv.weight, conv.bias, settings, None), nn.Module.__call__, channels


def normalisation(rng: random.Random) -> Case:
    channels = rng.choice([8, 16, 72])
    return nn.BatchNorm2d(channels), normalize_relu, lambda bn, x: bn(x).relu(), channels


def pooling(rng: random.Random) -> Case:
    while True:
        kernel_size = rng.choice([2, 3, (1, 3), 5])
        smallest = kernel_size if isinstance(kernel_size, int) else min(kernel_size)
        padding, ceil = rng.randrange(smallest // 2 + 1), rng.random() < 0.5
        pool = nn.MaxPool2d(kernel_size, rng.choice([1, 2, 3]), padding, ceil_mode=ceil)
        if supports(pool):
            return pool, max_pool, nn.Module.__call__, rng.choice([8, 24])


def values(module: nn.Module, run: Callable[[nn.Module, Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """Return the output and all gradients; the output's gradient is a slice of a larger map, as behind a concatenation."""
    x = x.detach().requires_grad_()
    module.zero_grad()
    y = run(module, x)
    joined = torch.sin(torch.arange(2 * y.numel())).to(y).view(len(y), *y.shape[2:], 2 * y.shape[1]).permute(0, 3, 1, 2)
    y.backward(joined[:, : y.shape[1]])
    return [y.detach(), x.grad, *(parameter.grad.clone() for parameter in module.parameters())]


def is_right(guard: Guard, rng: random.Random) -> bool:
    module, ours, theirs, channels = rng.choice([convolution, normalisation, pooling])(rng)
    module = module.to(memory_format=torch.channels_last).train()
    shape = rng.randint(1, 3), rng.randint(5, 20), rng.randint(5, 20), channels
    x = torch.randn(shape, generator=torch.Generator().manual_seed(rng.randrange(1 << 30))).permute(0, 3, 1, 2)
    expected = values(module.double(), theirs, x.double())
    module = module.float()
    single = values(module, theirs, x)
    guard.at_end = rng.random() < 0.5
    guard.move(module)
    found = values(module, ours, guard.copy(x))
    return all(
        error(mine, exact) <= max(TOLERANCE * float(exact.abs().max()), 10 * error(torchs, exact))
        for mine, torchs, exact in zip(found, single, expected, strict=True)
    )


def error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).abs().max())


def main(seed: int, count: int, width: int | None) -> int:
    """Run the cases and return the number of faults."""
    if width:
        _jit.max_vector_width = _gemm.max_vector_width = lambda: width
    guard, faults = install(), 0
    for case in range(seed, seed + count):
        print(f"case {case}", flush=True)
        torch.manual_seed(case)
        if not is_right(guard, random.Random(case)):
            faults += 1
            print(f"case {case} has a fault", flush=True)
    print(f"{count} operations, {faults} with faults")
    return faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--width", type=int)
    asked = parser.parse_args()
    sys.exit(bool(main(asked.seed, asked.count, asked.width)))
