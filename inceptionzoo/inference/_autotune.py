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

from .cpu._onednn import OPERATIONS, Packed

if TYPE_CHECKING:
    from .cpu._kernel import Passes

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
    from .cpu._jit import openmp
    from .cpu._max_pool import maxima

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
        self.chosen: dict[torch.Size, Way] = {}

    def way(self, x: Tensor) -> Way:
        """Return the way for inputs of x's shape."""
        way = self.chosen.get(x.shape)
        if way is None:
            way = self.torch_way
            if len(self.chosen) < MOST:
                way = self.chosen[x.shape] = self._choose(probe(x))
        return way

    def _choose(self, x: Tensor) -> Way:
        """Return the fastest of the ways whose outputs are torch's."""
        situation = self.kind, tuple(x.shape), torch.get_num_threads()
        known = _FASTEST.get(situation)
        expected = self.torch_way(x)
        bound = BOUND * expected.abs().max()
        ways = {name: make(x.shape) for name, make in self.others.items() if known in (name, None)}
        ways = {name: way for name, way in ways.items() if (way(x) - expected).abs().max() <= bound}
        if known is None:
            known = _FASTEST.setdefault(situation, _fastest(ways | {"torch": self.torch_way}, x))
        return ways.get(known, self.torch_way)


_FASTEST: dict[Hashable, str] = {}  # what this process has found so far


def _fastest(ways: Mapping[str, Way], x: Tensor) -> str:
    runs = [_ready(way, x) for way in ways.values()]
    rounds = [list(map(_seconds, runs)) for _ in range(ROUNDS)]
    best, *others = zip(map(min, zip(*rounds, strict=True)), ways, strict=True)
    for other in others:
        best = other if other[0] * GAIN < best[0] else best
    return best[1]


def convolution(conv: nn.Conv2d, relu: int) -> Ways:
    """Return the ways to run a convolution with ReLU of its first channels that this installation has, our own first."""

    def torch_way(x: Tensor) -> Tensor:
        y: Tensor = conv(x)
        if relu:
            y[:, :relu].relu_()
        return y

    ways = _compiled(conv, relu) if compiles() else {}
    if packs():
        ways["packed"] = partial(Packed, conv, relu)
    how = conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, relu
    return Ways(how, version(conv), torch_way, ways)


def _compiled(conv: nn.Conv2d, relu: int) -> dict[str, Callable[[Sequence[int]], Way]]:
    """Return the ways of our own passes, each made for a shape of input; weights are laid out once for all."""
    from .cpu import _channel_padding as widened
    from .cpu import _im2col as direct
    from .cpu import _winograd as winograd

    wide = widened.widened(conv) if widened.suits(conv) else conv
    makers: dict[str, Callable[[Sequence[int]], Passes]] = {}
    if direct.suits(wide):
        one = cache(lambda: direct.Direct(wide, relu, direct.laid_out(wide)))
        makers["direct"] = lambda _: one()
    for tile in (2, 4) if winograd.suits(wide) else ():
        weight = cache(partial(winograd.transformed, wide, tile))
        makers[f"winograd {tile}"] = partial(_winograd, wide, relu, tile, weight)
    if wide is conv:
        return dict(makers)
    return {name: partial(widened.Widened, conv, make) for name, make in makers.items()}


def _winograd(conv: nn.Conv2d, relu: int, tile: int, weight: Callable[[], Tensor], shape: Sequence[int]) -> Passes:
    from .cpu._winograd import Winograd

    return Winograd(conv, relu, tile, weight(), shape)


def max_pool(pool: nn.MaxPool2d) -> Ways:
    """Return the ways to run a max pool that this installation has."""
    ways: dict[str, Callable[[Sequence[int]], Way]] = {}
    if compiles():
        from .cpu._max_pool import MaxPool, suits

        if suits(pool):
            ways["compiled"] = partial(MaxPool, pool)
    how = pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    return Ways(how, None, pool, ways)


def probe(x: Tensor) -> Tensor:
    """Return an input like x to try ways with, whatever values x has."""
    with torch.inference_mode(False):
        return torch.empty_strided(x.size(), x.stride()).uniform_(generator=torch.Generator().manual_seed(0))


def average(pool: nn.Module, bias: Tensor, relu: bool) -> Ways:
    """Return the ways to run an average pool, then a bias, and ReLU where `relu`."""

    def torch_way(x: Tensor) -> Tensor:
        y: Tensor = pool(x).add_(bias[:, None, None])
        return y.relu_() if relu else y

    ways: dict[str, Callable[[Sequence[int]], Way]] = {}
    if compiles():
        from .cpu._average_pool import Average, suits

        if suits(pool):
            assert isinstance(pool, nn.AvgPool2d)
            ways["compiled"] = partial(Average, pool, bias, relu)
    how = type(pool), str(pool), relu
    return Ways(how, marks(bias), torch_way, ways)


def _ready(way: Way, x: Tensor) -> Callable[[], object]:
    """Return what is timed: the passes alone, which a program plays, or the whole call."""
    if not compiles():
        return partial(way, x)
    from .cpu._launch import ready

    return ready(way, x)


def _seconds(run: Callable[[], object]) -> float:
    """Return how long it takes where others have used the caches since: among a network's other layers."""
    _others().add_(1)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@cache
def _others() -> Tensor:
    with torch.inference_mode(False):  # in whichever mode the first trial is, the next may be in the other
        return torch.zeros(OTHERS // 4)


def version(conv: nn.Conv2d) -> Hashable:
    """Return what changes when the weights do."""
    return marks(conv.weight), conv.bias is not None and marks(conv.bias)


def marks(weight: Tensor) -> tuple[int, int]:
    """Return what changes when the values do."""
    return weight.data_ptr(), weight._version


def watched(module: nn.Module) -> bool:
    """Return whether someone has hooks on the module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def fixed(conv: nn.Module) -> bool:
    """Return whether a convolution is torch's plain one with weights that nobody trains."""
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    return all(weight is None or still(weight) for weight in (conv.weight, conv.bias))


def still(weight: Tensor) -> bool:
    """Return whether nobody trains the weight, and changes of it would be noticed."""
    return not (weight.requires_grad or weight.is_inference())
