"""The implementations of convolutions and pools that this installation has, each with an autotuner.

Those of one dimension run as operations of two dimensions on (n, c, 1, length).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from torch import Tensor, nn
from torch.nn import functional as F

from ..kernels import OneDNNConv, has_jit, has_onednn
from ._autotune import Autotuner, Implementation
from ._fingerprint import conv_version, tensor_version, values_version
from ._signals import as_avg_pool2d, as_conv2d, as_max_pool2d, run_on_map

T = TypeVar("T")

if TYPE_CHECKING:
    from ..kernels._kernel import KernelOp

    OpFactories = dict[str, Callable[[Sequence[int]], KernelOp]]  # by name; each takes the input's shape


def convolution_autotuner(module: Any, relu: int) -> Autotuner:
    """Return the autotuner of a tunable convolution followed by ReLU of its first `relu` channels."""
    conv, version = as_conv2d(module), (conv_version(module), relu)

    def torch_implementation(x: Tensor) -> Tensor:
        y = run_on_map(module, x, module.weight.ndim - 2)
        if relu:
            y[:, :relu].relu_()
        return y

    has_zeros = conv.kernel_size[1:] != module.kernel_size[-1:]  # in the kernel, which would turn inf into nan
    factories = _kernel_factories(conv, relu, torch_implementation, has_zeros=has_zeros) if has_jit() else {}
    if has_onednn() and not has_zeros:
        factories["onednn"] = partial(OneDNNConv, conv, relu)
    settings = module.kernel_size, module.stride, module.padding, module.dilation, module.groups
    kind = (type(module), module.out_channels), *settings, relu
    tensors = [tensor for tensor in (module.weight, module.bias) if tensor is not None]
    return Autotuner(kind, version, torch_implementation, factories, tensors)


def _kernel_factories(
    conv: nn.Conv2d, relu: int, fallback: Implementation, *, has_zeros: bool
) -> dict[str, Callable[[Sequence[int]], Implementation]]:
    """Return the factories of generated kernels by name.

    Winograd's method carries nan and inf to all pixels of a tile, and zeros in a kernel to pixels that it does not see. All
    implementations but im2col therefore compute maps that are not finite by `fallback`.
    """
    from ..kernels import _row_convolution as rows

    factories = {} if has_zeros else _window_factories(conv, relu)
    if rows.supports(conv):
        weight = shared(partial(rows.packed_weight, conv))
        factories["rows"] = lambda shape: rows.RowConv(conv, relu, weight(), shape)
    return {name: build if name == "im2col" else _with_fallback(build, fallback) for name, build in factories.items()}


def _window_factories(conv: nn.Conv2d, relu: int) -> OpFactories:
    """Return the factories of im2col and Winograd's method; all input shapes share one copy of the packed weights."""
    from ..kernels import _channel_padding as channel_padding
    from ..kernels import _im2col as im2col
    from ..kernels import _space_to_depth as space_to_depth

    padded = channel_padding.pad_channels(conv) if channel_padding.supports(conv) else conv
    factories: OpFactories = {}
    if im2col.supports(padded):
        operation = shared(lambda: im2col.Im2colConv(padded, relu, im2col.packed_weight(padded)))
        factories["im2col"] = lambda _: operation()
    factories |= _winograd_factories(padded, relu)
    if padded is not conv:
        factories = {name: partial(channel_padding.ChannelPaddedConv, conv, build) for name, build in factories.items()}
    if space_to_depth.supports(conv):
        folded = _winograd_factories(space_to_depth.fold_stride(conv), relu)
        factories |= {name: partial(space_to_depth.SpaceToDepthConv, conv, build) for name, build in folded.items()}
    return factories


def _winograd_factories(conv: nn.Conv2d, relu: int) -> OpFactories:
    """Return the factories of Winograd's method with each accurate size of tiles; there are none for most convolutions."""
    from ..kernels import _winograd as winograd

    def make_factory(tile: int) -> Callable[[Sequence[int]], KernelOp]:
        weight = shared(lambda: winograd.transform_weight(conv, tile))
        return lambda shape: winograd.WinogradConv(conv, relu, tile, weight(), shape)

    return {f"winograd_{tile}": make_factory(tile) for tile in winograd.accurate_tiles(conv)}


def shared(make: Callable[[], T]) -> Callable[[], T]:
    """Return a function that returns one result of `make`, as long as something else holds it, then another."""
    result: ref[T] | None = None

    def get() -> T:
        nonlocal result
        value = None if result is None else result()
        if value is None:
            value = make()
            result = ref(value)
        return value

    return get


def _with_fallback(build: Callable[[Sequence[int]], KernelOp], fallback: Implementation) -> Callable[[Sequence[int]], KernelOp]:
    """Return the factory whose operations have this `KernelOp.fallback`."""

    def build_with_fallback(shape: Sequence[int]) -> KernelOp:
        operation = build(shape)
        operation.fallback = fallback
        return operation

    return build_with_fallback


def linear_autotuner(layer: nn.Linear) -> Autotuner:
    """Return the autotuner of a linear layer that `supports_linear`."""
    from ..kernels._linear import LinearOp

    weight, bias = layer.weight, layer.bias  # the autotuner must not hold the layer, with which it ends
    torch_implementation = partial(F.linear, weight=weight, bias=bias)
    factories = {"kernel": lambda shape: LinearOp(weight, bias, shape[0])}
    tensors = [tensor for tensor in (weight, bias) if tensor is not None]
    return Autotuner(("linear", *weight.shape), values_version(layer), torch_implementation, factories, tensors)


def supports_linear(layer: nn.Linear, rows: int) -> bool:
    """Return whether a linear layer has a kernel for inputs of this number of rows."""
    if not has_jit():
        return False
    from ..kernels._linear import supports

    return supports(layer, rows)


def max_pool_autotuner(module: nn.MaxPool1d | nn.MaxPool2d) -> Autotuner:
    """Return the autotuner of a max pool."""
    pool = as_max_pool2d(module)
    factories: dict[str, Callable[[Sequence[int]], Implementation]] = {}
    if has_jit():
        from ..kernels._max_pool import MaxPoolOp, supports

        if supports(pool):
            factories["kernel"] = partial(MaxPoolOp, pool)
    return Autotuner(max_pool_version(pool), max_pool_version(module), pool, factories)


def max_pool_version(pool: nn.MaxPool1d | nn.MaxPool2d) -> Hashable:
    """Return a value that changes when the settings of the pool do."""
    return pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode


def average_pool_autotuner(module: nn.Module, bias: Tensor, relu: bool) -> Autotuner:
    """Return the autotuner of an average pool followed by a bias per channel and, if `relu`, by ReLU."""
    pool, version = as_avg_pool2d(module), average_pool_version(module, bias, relu)

    def torch_implementation(x: Tensor) -> Tensor:
        y: Tensor = pool(x).add_(bias[:, None, None])
        return y.relu_() if relu else y

    factories: dict[str, Callable[[Sequence[int]], Implementation]] = {}
    if has_jit():
        from ..kernels._average_pool import AveragePoolOp, supports

        if supports(pool):
            factories["kernel"] = partial(AveragePoolOp, pool, bias, relu)
    return Autotuner((*_average_pool_settings(pool), relu), version, torch_implementation, factories, [bias])


def average_pool_version(pool: nn.Module, bias: Tensor, relu: bool) -> Hashable:
    """Return a value that changes when the pool, the bias or the activation does."""
    return *_average_pool_settings(pool), tensor_version(bias), relu


def _average_pool_settings(pool: Any) -> tuple[Any, ...]:
    divisor = getattr(pool, "divisor_override", None)  # of two dimensions
    return type(pool), pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, pool.count_include_pad, divisor
