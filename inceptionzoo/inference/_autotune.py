"""The fastest way to run one convolution on this processor: found by trying each, at the first call with a size of input."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .cpu._onednn import ONEDNN, OneDNNConv

if TYPE_CHECKING:
    from .cpu._kernel import KernelOp

Implementation = Callable[[Tensor], Tensor]

MAX_INPUT_SIZES = 4  # sizes of input that a convolution remembers; further ones run as torch runs them
ROUNDS = 3
EVICTED_BYTES = 16 << 20  # bytes that are used between two trials, as by other layers
MIN_SPEEDUP = 1.03  # how much faster a way must be than those before it
MAX_RELATIVE_ERROR = 1e-4  # how far its outputs may be from torch's, over the largest


@cache
def has_onednn() -> bool:
    """Return whether this torch has the operations of oneDNN that its own compiler uses."""
    names = ("_convolution_pointwise", "_reorder_convolution_weight")
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(ONEDNN, name) for name in names)


@cache
def has_jit() -> bool:
    """Return whether passes over maps can be compiled and run: an llvmlite is there that can, and torch's OpenMP."""
    if not has_onednn() or find_spec("llvmlite") is None:
        return False
    from .cpu._jit import openmp
    from .cpu._max_pool import max_pool_kernel

    try:
        openmp()
        max_pool_kernel((1, 2), (1, 1), 1)  # the smallest; an older llvmlite writes another language
    except Exception:
        return False
    return True


def must_use_torch(x: Tensor) -> bool:
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


class Autotuner:
    """The ways to run an operation on (n, c, h, w): torch's, and others by their names, each made for a shape of input.

    They are those of one version of the weights. Operations of one kind run the same way on one shape in one process.
    """

    def __init__(
        self,
        kind: Hashable,
        version: Hashable,
        torch_way: Implementation,
        others: Mapping[str, Callable[[Sequence[int]], Implementation]],
    ) -> None:
        self.kind, self.version, self.torch_way, self.others = kind, version, torch_way, others
        self.chosen: dict[torch.Size, Implementation] = {}

    def implementation(self, x: Tensor) -> Implementation:
        """Return the way for inputs of x's shape."""
        way = self.chosen.get(x.shape)
        if way is None:
            way = self.torch_way
            if len(self.chosen) < MAX_INPUT_SIZES:
                way = self.chosen[x.shape] = self._choose(random_like(x))
        return way

    def _choose(self, x: Tensor) -> Implementation:
        """Return the fastest of the ways whose outputs are torch's."""
        situation = self.kind, tuple(x.shape), torch.get_num_threads()
        known = _FASTEST.get(situation)
        expected = self.torch_way(x)
        bound = MAX_RELATIVE_ERROR * expected.abs().max()
        ways = {name: make(x.shape) for name, make in self.others.items() if known in (name, None)}
        ways = {name: way for name, way in ways.items() if (way(x) - expected).abs().max() <= bound}
        if known is None:
            known = _FASTEST.setdefault(situation, _fastest(ways | {"torch": self.torch_way}, x))
        return ways.get(known, self.torch_way)


_FASTEST: dict[Hashable, str] = {}  # what this process has found so far


def _fastest(ways: Mapping[str, Implementation], x: Tensor) -> str:
    runs = [_prepare(way, x) for way in ways.values()]
    rounds = [list(map(_seconds, runs)) for _ in range(ROUNDS)]
    best, *others = zip(map(min, zip(*rounds, strict=True)), ways, strict=True)
    for other in others:
        best = other if other[0] * MIN_SPEEDUP < best[0] else best
    return best[1]


def convolution_autotuner(conv: nn.Conv2d, relu: int) -> Autotuner:
    """Return the ways to run a convolution with ReLU of its first channels that this installation has, our own first."""

    def torch_way(x: Tensor) -> Tensor:
        y: Tensor = conv(x)
        if relu:
            y[:, :relu].relu_()
        return y

    ways = _jit_implementations(conv, relu) if has_jit() else {}
    if has_onednn():
        ways["packed"] = partial(OneDNNConv, conv, relu)
    how = conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, relu
    return Autotuner(how, conv_version(conv), torch_way, ways)


def _jit_implementations(conv: nn.Conv2d, relu: int) -> dict[str, Callable[[Sequence[int]], Implementation]]:
    """Return the ways of our own passes, each made for a shape of input; weights are laid out once for all."""
    from .cpu import _channel_padding as widened
    from .cpu import _im2col as direct
    from .cpu import _winograd as winograd

    wide = widened.pad_channels(conv) if widened.supports(conv) else conv
    makers: dict[str, Callable[[Sequence[int]], KernelOp]] = {}
    if direct.supports(wide):
        one = cache(lambda: direct.Im2colConv(wide, relu, direct.packed_weight(wide)))
        makers["direct"] = lambda _: one()
    for tile in (2, 4) if winograd.supports(wide) else ():
        weight = cache(partial(winograd.transform_weight, wide, tile))
        makers[f"winograd {tile}"] = partial(_winograd, wide, relu, tile, weight)
    if wide is conv:
        return dict(makers)
    return {name: partial(widened.ChannelPaddedConv, conv, make) for name, make in makers.items()}


def _winograd(conv: nn.Conv2d, relu: int, tile: int, weight: Callable[[], Tensor], shape: Sequence[int]) -> KernelOp:
    from .cpu._winograd import WinogradConv

    return WinogradConv(conv, relu, tile, weight(), shape)


def max_pool_autotuner(pool: nn.MaxPool2d) -> Autotuner:
    """Return the ways to run a max pool that this installation has."""
    ways: dict[str, Callable[[Sequence[int]], Implementation]] = {}
    if has_jit():
        from .cpu._max_pool import MaxPoolOp, supports

        if supports(pool):
            ways["compiled"] = partial(MaxPoolOp, pool)
    how = pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    return Autotuner(how, None, pool, ways)


def random_like(x: Tensor) -> Tensor:
    """Return an input like x to try ways with, whatever values x has."""
    with torch.inference_mode(False):
        return torch.empty_strided(x.size(), x.stride()).uniform_(generator=torch.Generator().manual_seed(0))


def average_pool_autotuner(pool: nn.Module, bias: Tensor, relu: bool) -> Autotuner:
    """Return the ways to run an average pool, then a bias, and ReLU where `relu`."""

    def torch_way(x: Tensor) -> Tensor:
        y: Tensor = pool(x).add_(bias[:, None, None])
        return y.relu_() if relu else y

    ways: dict[str, Callable[[Sequence[int]], Implementation]] = {}
    if has_jit():
        from .cpu._average_pool import AveragePoolOp, supports

        if supports(pool):
            assert isinstance(pool, nn.AvgPool2d)
            ways["compiled"] = partial(AveragePoolOp, pool, bias, relu)
    how = type(pool), str(pool), relu
    return Autotuner(how, tensor_version(bias), torch_way, ways)


def _prepare(way: Implementation, x: Tensor) -> Callable[[], object]:
    """Return what is timed: the passes alone, which a program plays, or the whole call."""
    if not has_jit():
        return partial(way, x)
    from .cpu._launch import prepare

    return prepare(way, x)


def _seconds(run: Callable[[], object]) -> float:
    """Return how long it takes where others have used the caches since: among a network's other layers."""
    _evicted().add_(1)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@cache
def _evicted() -> Tensor:
    with torch.inference_mode(False):  # in whichever mode the first trial is, the next may be in the other
        return torch.zeros(EVICTED_BYTES // 4)


def conv_version(conv: nn.Conv2d) -> Hashable:
    """Return what changes when the weights do."""
    return tensor_version(conv.weight), conv.bias is not None and tensor_version(conv.bias)


def tensor_version(weight: Tensor) -> tuple[int, int]:
    """Return what changes when the values do."""
    return weight.data_ptr(), weight._version


def has_hooks(module: nn.Module) -> bool:
    """Return whether someone has hooks on the module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def is_plain_frozen_conv(conv: nn.Module) -> bool:
    """Return whether a convolution is torch's plain one with weights that nobody trains."""
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    return all(weight is None or is_frozen(weight) for weight in (conv.weight, conv.bias))


def is_frozen(weight: Tensor) -> bool:
    """Return whether nobody trains the weight, and changes of it would be noticed."""
    return not (weight.requires_grad or weight.is_inference())
