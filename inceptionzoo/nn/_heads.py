"""Heads: from feature maps to logits.

Shapes: n images, c channels, h x w pixels. In one dimension a map is (n, c, length), in three (n, c, depth, h, w).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ArgumentError, check_choice, check_int, check_rate
from ..spec import GLOBAL_POOLS, GlobalPool, Head, Size, as_tuple
from ._init import allocate, init_weights
from ._layers import ADAPTIVE_AVG_POOLS, CONVS
from ._padding import larger

AVERAGES: dict[int, Callable[[Tensor, Any], Tensor]]  # by the number of spatial dimensions
AVERAGES = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
MAXIMA: dict[int, Callable[[Tensor, Any], Tensor]]
MAXIMA = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


def make_global_pool(kind: GlobalPool, size: Size, dims: int) -> nn.Module:
    """Return pooling to `size`: (n, c, h, w) -> (n, c, size, size). The kinds are timm's; "" does not pool."""
    if kind == "avg":
        return ADAPTIVE_AVG_POOLS[dims](size)
    return GlobalPooling(kind, size, dims) if kind else nn.Identity()


class GlobalPooling(nn.Module):
    """Pooling of kind "max", "avgmax" or "catavgmax", which gives 2c channels: (n, c, h, w) -> (n, c, size, size)."""

    def __init__(self, kind: GlobalPool, size: Size, dims: int) -> None:
        super().__init__()
        self.kind, self.size, self.dims = kind, size, dims

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(2, 2 + self.dims))
        maximum = x.amax(axes, keepdim=True) if self.size == 1 else MAXIMA[self.dims](x, self.size)
        if self.kind == "max":
            return maximum
        mean = AVERAGES[self.dims](x, self.size)
        return 0.5 * (mean + maximum) if self.kind == "avgmax" else torch.cat((mean, maximum), 1)

    def extra_repr(self) -> str:
        return f"{self.kind!r}, size={self.size}"


def check_head(num_classes: object, global_pool: object, drop_rate: object) -> None:
    """Raise ArgumentError if an argument is outside its range, or if there are classes without pooling."""
    check_int("num_classes", num_classes, 0)
    check_choice("global_pool", global_pool, GLOBAL_POOLS)
    if global_pool == "" and num_classes:
        raise ArgumentError(f"global_pool='' needs num_classes=0 (have {num_classes}): a classifier needs a pooled map")
    check_rate("drop_rate", drop_rate)


class ClassifierHead(nn.Module):
    """The head of a specification: (n, c, h, w) -> (n, num_classes).

    With `num_classes=0` it returns the pre-logits, the input of the last linear layer: (n, num_features). With
    `global_pool=""` it returns its input. The hidden layers are in `hidden` and their ReLUs in `acts`; these are empty dicts
    if there are none. `run_layer`, if `fuse` has set it, returns what `layer(x)` does for each of the hidden layers and `fc`.
    """

    hidden: nn.ModuleDict | dict[str, nn.Module]
    acts: nn.ModuleDict | dict[str, nn.Module]
    run_layer: Callable[[nn.Module, Tensor], Tensor] | None = None

    def __init__(
        self, spec: Head, in_channels: int, num_classes: int, global_pool: GlobalPool, drop_rate: float, dims: int
    ) -> None:
        super().__init__()
        check_head(num_classes, global_pool, drop_rate)
        self.spec, self.in_channels, self.global_pool, self.dims = spec, in_channels, global_pool, dims
        self.last_pool: GlobalPool = global_pool or "avg"  # what `with_classes` restores
        self.pool = make_global_pool(global_pool, spec.size if spec.kind == "mlp" else 1, dims)
        pool_factor = 2 if global_pool == "catavgmax" else 1  # channels after pooling / channels before
        fan_in, hidden = in_channels, dict[str, nn.Module]()
        for number, out in enumerate(spec.hidden if global_pool else (), 1):
            if spec.kind == "conv":
                hidden[f"fc{number}"] = allocate(CONVS[dims], fan_in, out, spec.size if number == 1 else 1)
            else:
                fan_in *= math.prod(as_tuple(spec.size, dims)) * pool_factor if number == 1 else 1
                hidden[f"fc{number}"] = allocate(nn.Linear, fan_in, out, bias=spec.kind != "embed")
            fan_in = out
        acts = {} if spec.kind == "embed" else {name: nn.ReLU() for name in hidden}
        if spec.kind == "embed" and hidden:
            hidden["bn1"] = (nn.BatchNorm1d if spec.norm == "batch" else nn.LayerNorm)(fan_in, eps=1e-3)
        self.hidden = nn.ModuleDict(hidden) if hidden else {}
        self.acts = nn.ModuleDict(acts) if acts else {}
        self.num_features = fan_in if spec.kind != "conv" and hidden else fan_in * pool_factor
        self._built_classes = num_classes
        self.drop = nn.Dropout(drop_rate)
        self.fc = allocate(nn.Linear, self.num_features, num_classes) if num_classes else nn.Identity()
        self.reset_parameters()

    @property
    def num_classes(self) -> int:
        """Number of classes: the width of the classifier `fc`, which may be a module of your own; 0 without a classifier."""
        return output_width(self.fc, default=self._built_classes)

    @property
    def drop_rate(self) -> float:
        """The dropout rate."""
        return float(getattr(self.drop, "p", 0.0))

    def reset_parameters(self) -> None:
        """Initialise every weight."""
        self.reset_hidden()
        self.reset_classifier()

    def reset_hidden(self) -> None:
        """Initialise the hidden layers: He's normal weights, zero biases."""
        for layer in self.hidden.values():
            if isinstance(layer, nn.BatchNorm1d | nn.LayerNorm):
                layer.reset_parameters()
            elif isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                init_weights(layer)

    def reset_classifier(self) -> None:
        """Initialise the classifier: normal weights (standard deviation 0.01, for small logits) and zero bias."""
        if isinstance(self.fc, nn.Linear):
            init_weights(self.fc, std=0.01)

    def with_classes(self, num_classes: int, global_pool: GlobalPool | None, reference: Tensor) -> ClassifierHead:
        """Return a head with a new classifier that has the device and dtype of `reference`.

        The new head shares the hidden layers of this head if their shapes stay the same. `global_pool=None` keeps the pooling;
        if there is none, classes bring the last one back.
        """
        kept = self.global_pool or (self.last_pool if num_classes else "")
        pool = kept if global_pool is None else global_pool
        arguments = (self.spec, self.in_channels, num_classes, pool, self.drop_rate, self.dims)
        with torch.device("meta"):
            head = ClassifierHead(*arguments)
        if _shapes(head.hidden) != _shapes(self.hidden):
            with reference.device:
                head = ClassifierHead(*arguments).to(reference.dtype).train(self.training)
            head.last_pool, head.run_layer = pool or self.last_pool, self.run_layer
            return head
        head.hidden, head.acts, head.last_pool = self.hidden, self.acts, pool or self.last_pool
        if num_classes:
            head.fc = allocate(nn.Linear, head.num_features, num_classes, device=reference.device, dtype=reference.dtype)
            head.reset_classifier()
        head.training, head.run_layer = self.training, self.run_layer  # not `train()`: the hidden layers keep their modes
        for module in (head.pool, head.drop, head.fc):
            module.train(self.training)
        return head

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if not self.global_pool:
            return x
        if self.spec.kind == "embed":
            x = self.drop(self.pool(x).flatten(1))
            for layer in self.hidden.values():
                x = self._run_layer(layer, x)
        elif self.spec.kind == "conv":
            # enlarge a map that is smaller than the kernel; a larger map does not change
            sides = enumerate(as_tuple(self.spec.size, self.dims), start=-self.dims)
            size = [larger(side, x.shape[axis]) for axis, side in sides]
            x = self._forward_hidden(AVERAGES[self.dims](x, size))
            x = self.drop(self.pool(x).flatten(1))
        else:
            x = self.drop(self._forward_hidden(self.pool(x).flatten(1)))
        return x if pre_logits else self._run_layer(self.fc, x)

    def _forward_hidden(self, x: Tensor) -> Tensor:
        """Return the output of the hidden layers, with a ReLU after each and dropout between them."""
        for index, (layer, act) in enumerate(zip(self.hidden.values(), self.acts.values(), strict=True)):
            x = act(self._run_layer(layer, self.drop(x) if index else x))
        return x

    def _run_layer(self, layer: nn.Module, x: Tensor) -> Tensor:
        x = layer(x) if self.run_layer is None else self.run_layer(layer, x)
        return x


def output_width(classifier: nn.Module, *, default: int) -> int:
    """Return the width of the last linear layer in a classifier: 0 for `nn.Identity`, `default` if there is no such layer."""
    values = [getattr(layer, "out_features", None) for layer in classifier.modules()]
    widths = [value for value in values if isinstance(value, int)]
    return 0 if type(classifier) is nn.Identity else widths[-1] if widths else default


def _shapes(modules: Mapping[str, nn.Module] | nn.ModuleDict) -> dict[tuple[str, str], torch.Size]:
    states = {name: module.state_dict() for name, module in modules.items()}
    return {(name, key): tensor.shape for name, state in states.items() for key, tensor in state.items()}


class AuxHead(nn.Module):
    """An auxiliary classifier on the output of a stage: (n, c, h, w) -> (n, num_classes). `weight` multiplies its loss."""

    def __init__(self, layers: nn.Module, head: ClassifierHead, weight: float) -> None:
        super().__init__()
        self.layers, self.head, self.weight = layers, head, weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.layers(x))
        return x
