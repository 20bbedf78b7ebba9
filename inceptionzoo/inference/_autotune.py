"""Autotuning: the first call with each input size measures the implementations of an operation and keeps the fastest."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache, partial

import torch
from torch import Tensor

from ..kernels import add_result, find_result, has_jit, row_strides

Implementation = Callable[[Tensor], Tensor]
Factories = Mapping[str, Callable[[Sequence[int]], Implementation]]  # by name; each takes the input's shape

MAX_INPUT_SIZES = 4  # input sizes that an operation is tuned for; it runs by torch on others
ROUNDS = 5
EVICTED_BYTES = 16 << 20  # bytes written between two measurements, to empty the caches as other layers would
MIN_SPEEDUP = 1.03  # an implementation must be faster than those before it by this factor
MAX_RELATIVE_ERROR = 1e-4  # largest difference from torch's outputs, relative to the largest output

_FASTEST: dict[Hashable, str] = {}  # results of this process: implementation by operation, candidates, input shape and threads


class Autotuner:
    """The implementations of an operation on maps, (n, c, h, w), or on rows, (n, c), for one version of its weights.

    Args:
        kind: equal for operations that run the same way: they share one measurement for each input shape in a process.
        version: the fingerprint of the weights.
        torch_implementation: the reference; it is used if no other is faster and accurate.
        factories: build the other implementations for an input shape.
        tensors: those of the version; they are kept, so that no other tensor gets their memory.
    """

    def __init__(
        self,
        kind: Hashable,
        version: Hashable,
        torch_implementation: Implementation,
        factories: Factories,
        tensors: Iterable[Tensor] = (),
    ) -> None:
        self.kind, self.version, self.torch_implementation, self.factories = kind, version, torch_implementation, factories
        self.chosen: dict[tuple[torch.Size, int], tuple[str, Implementation]] = {}  # by input shape and number of threads
        self._torch = "torch", torch_implementation
        self._kept = [tensor.detach() for tensor in tensors]

    def implementation(self, x: Tensor, *, cached: bool) -> Implementation:
        """Return the implementation for inputs of x's shape, tuned at the first call with this shape.

        With `cached`, the results of other processes are used, and new ones are kept for them.
        """
        key = x.shape, torch.get_num_threads()
        if key not in self.chosen and len(self.chosen) < MAX_INPUT_SIZES:
            self.chosen[key] = self._choose(random_like(x), cached=cached)
        return self.chosen.get(key, self._torch)[1]

    def name(self, x: Tensor) -> str:
        """Return the name of the implementation for inputs of x's shape."""
        return self.chosen.get((x.shape, torch.get_num_threads()), self._torch)[0]

    def _key(self, shape: torch.Size) -> Hashable:
        return self.kind, tuple(self.factories), tuple(shape), torch.get_num_threads()

    def _choose(self, x: Tensor, *, cached: bool) -> tuple[str, Implementation]:
        """Return the fastest implementation whose outputs agree with torch's, and its name.

        If one does not agree, because of the values of these weights, the result is not for other weights.
        """
        key = self._key(x.shape)
        fastest = _FASTEST.get(key) or self._find_stored(key, cached=cached)
        expected = self.torch_implementation(x)
        max_error = MAX_RELATIVE_ERROR * expected.abs().max()
        built = {name: build(x.shape) for name, build in self.factories.items() if fastest in (name, None)}
        accurate = {name: run for name, run in built.items() if (run(x) - expected).abs().max() <= max_error}
        if fastest is None:
            fastest = _fastest(accurate | {"torch": self.torch_implementation}, x)
            if len(accurate) == len(built):
                fastest = _FASTEST.setdefault(key, fastest)
                if cached:
                    add_result(repr(key), fastest)
        return (fastest, accurate[fastest]) if fastest in accurate else self._torch

    def _find_stored(self, key: Hashable, *, cached: bool) -> str | None:
        """Return the result of another process for this operation, if it names an implementation of this one."""
        name = find_result(repr(key)) if cached else None
        if name not in ("torch", *self.factories):
            return None
        return _FASTEST.setdefault(key, name)


def random_like(x: Tensor) -> Tensor:
    """Return random values in x's shape and strides, so that measurements do not depend on the values of x.

    If x is neither contiguous nor has channels_last pixels that are evenly spaced and apart, the result is contiguous.
    """
    strides = row_strides(x) if x.ndim == 4 else None
    with torch.inference_mode(False):
        if strides is None or strides[3] < x.shape[1]:  # pixels overlap if x is expanded
            values = torch.empty(x.shape, dtype=torch.float32, device="cpu")
        else:
            values = torch.empty_strided(x.shape, strides, dtype=torch.float32, device="cpu")
        return values.uniform_(generator=torch.Generator("cpu").manual_seed(0))


def _fastest(implementations: Mapping[str, Implementation], x: Tensor) -> str:
    """Return the name of the fastest implementation; a later one must be faster by `MIN_SPEEDUP`."""
    runs = [_prepare(implementation, x) for implementation in implementations.values()]
    rounds = [list(map(_seconds, runs)) for _ in range(ROUNDS)]
    best, *others = zip(map(min, zip(*rounds, strict=True)), implementations, strict=True)
    for other in others:
        best = other if other[0] * MIN_SPEEDUP < best[0] else best
    return best[1]


def _prepare(implementation: Implementation, x: Tensor) -> Callable[[], object]:
    """Return the function to measure; of an operation with generated kernels it runs only these, as a program does."""
    if not has_jit():
        return partial(implementation, x)
    from ..kernels._launch import prepare

    return prepare(implementation, x)


def _seconds(run: Callable[[], object]) -> float:
    """Return the run time in seconds with cold caches, as between the other layers of a network."""
    _evicted().add_(1)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@cache
def _evicted() -> Tensor:
    with torch.inference_mode(False):  # the tensor is used inside and outside of inference mode
        return torch.zeros(EVICTED_BYTES // 4, dtype=torch.float32, device="cpu")
