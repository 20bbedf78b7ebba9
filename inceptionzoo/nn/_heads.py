"""Heads: from feature maps to logits. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ArgumentError, check_choice, check_int, check_rate
from ..spec import GLOBAL_POOLS, GlobalPool, Head
from ._init import allocate, init_weights


class GlobalPool2d(nn.Module):
    """Pooling to size x size: (n, c, h, w) -> (n, c, size, size). "catavgmax" gives 2c channels. The kinds are timm's."""

    def __init__(self, kind: GlobalPool, size: int = 1) -> None:
        super().__init__()
        self.kind, self.size = kind, size

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "avg":
            return F.adaptive_avg_pool2d(x, self.size)
        maximum = x.amax((2, 3), keepdim=True) if self.size == 1 else F.adaptive_max_pool2d(x, self.size)
        if self.kind == "max":
            return maximum
        mean = F.adaptive_avg_pool2d(x, self.size)
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
    `global_pool=""` it returns its input.
    """

    def __init__(self, spec: Head, in_channels: int, num_classes: int, global_pool: GlobalPool, drop_rate: float) -> None:
        super().__init__()
        check_head(num_classes, global_pool, drop_rate)
        self.spec, self.in_channels, self.num_classes, self.global_pool = spec, in_channels, num_classes, global_pool
        self.pool = GlobalPool2d(global_pool, spec.size if spec.kind == "mlp" else 1) if global_pool else nn.Identity()
        pool_factor = 2 if global_pool == "catavgmax" else 1  # channels after pooling / channels before
        fan_in, self.hidden = in_channels, nn.ModuleDict()
        for number, out in enumerate(spec.hidden if global_pool else (), 1):
            if spec.kind == "conv":
                self.hidden[f"fc{number}"] = allocate(nn.Conv2d, fan_in, out, spec.size if number == 1 else 1)
            else:
                fan_in *= spec.size**2 * pool_factor if number == 1 else 1
                self.hidden[f"fc{number}"] = allocate(nn.Linear, fan_in, out, bias=spec.kind != "embed")
            fan_in = out
        if spec.kind == "embed" and self.hidden:
            self.hidden["bn1"] = (nn.BatchNorm1d if spec.norm == "batch" else nn.LayerNorm)(fan_in, eps=1e-3)
        self.num_features = fan_in if spec.kind != "conv" and self.hidden else fan_in * pool_factor
        self.drop = nn.Dropout(drop_rate)
        self.fc = allocate(nn.Linear, self.num_features, num_classes) if num_classes else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise every weight."""
        self.reset_hidden()
        self.reset_classifier()

    def reset_hidden(self) -> None:
        """Initialise the hidden layers: He's normal weights, zero biases."""
        for layer in self.hidden.values():
            if isinstance(layer, nn.BatchNorm1d | nn.LayerNorm):
                layer.reset_parameters()
            elif isinstance(layer, nn.Linear | nn.Conv2d):
                init_weights(layer)

    def reset_classifier(self) -> None:
        """Initialise the classifier: normal weights (standard deviation 0.01, for small logits) and zero bias."""
        if isinstance(self.fc, nn.Linear):
            init_weights(self.fc, std=0.01)

    def with_classes(self, num_classes: int, global_pool: GlobalPool | None, reference: Tensor) -> ClassifierHead:
        """Return a head with a new classifier that has the device and dtype of `reference`.

        The new head shares the hidden layers of this head if their shapes stay the same. `global_pool=None` keeps the pooling.
        """
        pool = self.global_pool if global_pool is None else global_pool
        arguments = (self.spec, self.in_channels, num_classes, pool, self.drop.p)
        with torch.device("meta"):
            head = ClassifierHead(*arguments)
        if _shapes(head.hidden) != _shapes(self.hidden):
            with reference.device:
                return ClassifierHead(*arguments).to(reference.dtype).train(self.training)
        head.hidden = self.hidden
        if num_classes:
            head.fc = allocate(nn.Linear, head.num_features, num_classes, device=reference.device, dtype=reference.dtype)
            head.reset_classifier()
        return head.train(self.training)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if not self.global_pool:
            return x
        if self.spec.kind == "embed":
            x = self.drop(self.pool(x).flatten(1))
            for layer in self.hidden.values():
                x = layer(x)
        elif self.spec.kind == "conv":
            # enlarge a map that is smaller than the kernel; a larger map does not change
            size = (torch.sym_max(self.spec.size, x.shape[-2]), torch.sym_max(self.spec.size, x.shape[-1]))
            x = self._forward_hidden(F.adaptive_avg_pool2d(x, size))  # type: ignore[arg-type]  # symbolic sizes too
            x = self.drop(self.pool(x).flatten(1))
        else:
            x = self.drop(self._forward_hidden(self.pool(x).flatten(1)))
        return x if pre_logits else self.fc(x)

    def _forward_hidden(self, x: Tensor) -> Tensor:
        """Return the output of the hidden layers, with a ReLU after each and dropout between them."""
        for index, layer in enumerate(self.hidden.values()):
            x = F.relu(layer(self.drop(x) if index else x))
        return x


def _shapes(module: nn.Module) -> Mapping[str, torch.Size]:
    return {key: tensor.shape for key, tensor in module.state_dict().items()}


class AuxHead(nn.Module):
    """An auxiliary classifier on the output of a stage: (n, c, h, w) -> (n, num_classes). `weight` multiplies its loss."""

    def __init__(self, layers: nn.Module, head: ClassifierHead, weight: float) -> None:
        super().__init__()
        self.layers, self.head, self.weight = layers, head, weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.layers(x))
        return x
