"""The fastest way to run one convolution on this processor: found by trying each, at the first call with a size of input."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .packed import OPERATIONS, Packed

Way = Callable[[Tensor], Tensor]

MOST = 4  # sizes of input that a convolution remembers; further ones run as torch runs them
ROUNDS = 3
OTHERS = 16 << 20  # bytes that are used between two trials, as by other layers
GAIN = 1.03  # how much faster a way must be than those before it
BOUND = 1e-4  # how far its outputs may be from torch's, over the largest


@cache
def packs() -> bool:
    """Return whether this torch has the operations of oneDNN that its own compiler uses."""
    names = ("_convolution_pointwise", "_reorder_convolution_weight")
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(OPERATIONS, name) for name in names)


@cache
def compiles() -> bool:
    """Return whether passes over maps can be compiled and run: an llvmlite is there that can, and torch's OpenMP."""
    if not packs() or find_spec("llvmlite") is None:
        return False
    from .machine import openmp
    from .maxima import maxima

    try:
        openmp()
        maxima((1, 2), (1, 1), 1)  # the smallest; an older llvmlite writes another language
    except Exception:
        return False
    return True


def plain(x: Tensor) -> bool:
    """Return whether convolutions of x must run as torch runs them: traced, transformed, observed, or elsewhere."""
    return bool(
        type(x) is not Tensor
        or x.dtype != torch.float32
        or x.device.type != "cpu"
        or not x.numel()
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or not torch.backends.mkldnn.enabled
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or _get_current_dispatch_mode() is not None
        or hooks._has_any_global_hook()  # type: ignore[no-untyped-call]
        or (x.requires_grad and torch.is_grad_enabled())
    )


class Ways:
    """The ways to run an operation on (n, c, h, w): torch's, and others by their names, each made for a shape of input.

    They are those of one version of the weights. Operations of one kind run the same way on one shape in one process.
    """

    def __init__(
        self, kind: Hashable, version: Hashable, torch_way: Way, others: Mapping[str, Callable[[Sequence[int]], Way]]
    ) -> None:
        self.kind, self.version, self.torch_way, self.others = kind, version, torch_way, others
        self.chosen: dict[tuple[int, ...], Way] = {}

    def __call__(self, x: Tensor) -> Tensor:
        way = self.chosen.get(tuple(x.shape))
        if way is None:
            way = self.torch_way
            if len(self.chosen) < MOST:
                way = self.chosen[tuple(x.shape)] = self._choose(x)
        return way(x)

    def _choose(self, x: Tensor) -> Way:
        """Return the fastest of the ways whose outputs are torch's."""
        situation = self.kind, tuple(x.shape), torch.get_num_threads()
        known = _FASTEST.get(situation)
        expected = self.torch_way(x)
        bound = BOUND * expected.abs().max()
        ways = {name: make(x.shape) for name, make in self.others.items() if known in (name, None)}
        ways = {name: way for name, way in ways.items() if (way(x) - expected).abs().max() <= bound}
        if known is None:
            known = _FASTEST.setdefault(situation, _fastest({"torch": self.torch_way} | ways, x))
        return ways.get(known, self.torch_way)


_FASTEST: dict[Hashable, str] = {}  # what this process has found so far


def _fastest(ways: Mapping[str, Way], x: Tensor) -> str:
    rounds = [[_seconds(way, x) for way in ways.values()] for _ in range(ROUNDS)]
    best, *others = zip(map(min, zip(*rounds, strict=True)), ways, strict=True)
    for other in others:
        best = other if other[0] * GAIN < best[0] else best
    return best[1]


def convolution(conv: nn.Conv2d, relu: bool) -> Ways:
    """Return the ways to run a convolution with ReLU, or without, that this installation has."""

    def torch_way(x: Tensor) -> Tensor:
        y: Tensor = conv(x)
        return y.relu_() if relu else y

    ways: dict[str, Callable[[Sequence[int]], Way]] = {}
    if packs():
        ways["packed"] = partial(Packed, conv, relu)
    if compiles():
        from . import direct, winograd

        if direct.suits(conv):
            one = cache(lambda: direct.Direct(conv, relu, direct.laid_out(conv)))
            ways["direct"] = lambda _: one()
        if winograd.suits(conv):
            ways["winograd 2"] = _winograd(conv, relu, 2)
            ways["winograd 4"] = _winograd(conv, relu, 4)
    how = conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, relu
    return Ways(how, version(conv), torch_way, ways)


def _winograd(conv: nn.Conv2d, relu: bool, tile: int) -> Callable[[Sequence[int]], Way]:
    from .winograd import Winograd, transformed

    weight = cache(partial(transformed, conv, tile))  # one for all shapes
    return lambda shape: Winograd(conv, relu, tile, weight(), shape)


def max_pool(pool: nn.MaxPool2d) -> Ways:
    """Return the ways to run a max pool that this installation has."""
    ways: dict[str, Callable[[Sequence[int]], Way]] = {}
    if compiles():
        from .maxima import MaxPool, suits

        if suits(pool):
            ways["compiled"] = partial(MaxPool, pool)
    how = pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    return Ways(how, None, pool, ways)


def _seconds(way: Way, x: Tensor) -> float:
    """Return how long it takes where others have used the caches since: among a network's other layers."""
    _others().add_(1)
    start = time.perf_counter()
    way(x)
    return time.perf_counter() - start


@cache
def _others() -> Tensor:
    with torch.inference_mode(False):  # in whichever mode the first trial is, the next may be in the other
        return torch.zeros(OTHERS // 4)


def version(conv: nn.Conv2d) -> Hashable:
    """Return what changes when the weights do."""
    weight, bias = conv.weight, conv.bias
    return weight.data_ptr(), weight._version, bias is not None and (bias.data_ptr(), bias._version)


def watched(module: nn.Module) -> bool:
    """Return whether someone has hooks on the module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def fixed(conv: nn.Module) -> bool:
    """Return whether a convolution is torch's plain one with weights that nobody trains."""
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    weight, bias = conv.weight, conv.bias
    return not (weight.requires_grad or weight.is_inference()) and (
        bias is None or not (bias.requires_grad or bias.is_inference())
    )
