"""The modules that a specification builds into. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from .errors import ArgumentError, check_choice, check_int, check_rate
from .network import GLOBAL_POOLS, GlobalPool, Head, Style
from .spec import Conv, Pool, Size, half_padding, pair

M = TypeVar("M", bound=nn.Module)


def unset(kind: Callable[..., M], *args: object, **kwargs: object) -> M:
    """Return a module whose weights are allocated and not set: its owner's `reset_parameters` sets them, once."""
    module: M = skip_init(kind, *args, device=torch.get_default_device(), **kwargs)  # type: ignore[no-untyped-call]  # torch left it untyped
    return module


def pad_same(x: Tensor, kernel: Size, stride: int, value: float = 0.0) -> Tensor:
    """Return `x` padded as TensorFlow's "SAME": what is odd goes to the bottom and the right."""
    tall, wide = pair(kernel)
    if tall == wide == 1:  # a window of one pixel never needs padding, whatever its stride
        return x
    below, beside = tall - stride + -x.shape[-2] % stride, wide - stride + -x.shape[-1] % stride
    return F.pad(x, (beside // 2, beside - beside // 2, below // 2, below - below // 2), value=value)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": (n, c, h, w) -> (n, out, ceil(h / stride), ceil(w / stride))."""

    def forward(self, input: Tensor) -> Tensor:
        kernel = (self.kernel_size[0], self.kernel_size[1])
        return super().forward(pad_same(input, kernel, int(self.stride[0])))


class SameMaxPool2d(nn.MaxPool2d):
    """A max pool padded as TensorFlow's "SAME", with minus infinity."""

    def __init__(self, kernel: Size, step: int) -> None:
        super().__init__(kernel, step)
        self.step = step

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = super().forward(pad_same(input, self.kernel_size, self.step, float("-inf")))
        return result


class ConvNormAct(nn.Module):
    """Convolution, batch normalisation, ReLU, the last two where the specification has them."""

    def __init__(self, in_channels: int, conv: Conv, style: Style) -> None:
        super().__init__()
        normed = conv.norm and style.norm is not None
        same = conv.padding == "same" and (conv.stride > 1 or any(side % 2 == 0 for side in pair(conv.kernel)))
        padding = half_padding(conv.kernel, "half" if conv.padding == "same" and not same else conv.padding)
        self.conv = unset(
            SameConv2d if same else nn.Conv2d,
            in_channels,
            conv.out,
            conv.kernel,
            conv.stride,
            padding,
            groups=conv.groups,
            bias=style.bias if conv.bias is None else conv.bias,
        )
        self.bn = nn.BatchNorm2d(conv.out, eps=style.eps) if normed else nn.Identity()
        self.act = nn.ReLU(inplace=True) if conv.act else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw He's normal weights for the fan-in; zero biases."""
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in", nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.conv(x)))
        return x


class Branches(nn.ModuleDict):
    """Every branch on the same input, concatenated along channels: (n, c, h, w) -> (n, sum of widths, h', w')."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], 1)


class Shortcut(nn.Module):
    """shortcut(x) + scale * project(body(x)), then ReLU where `act`."""

    def __init__(self, body: nn.Module, project: nn.Module, shortcut: nn.Module, *, scale: float, act: bool) -> None:
        super().__init__()
        self.body, self.project, self.shortcut, self.scale = body, project, shortcut, scale
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.shortcut(x) + self.scale * self.project(self.body(x)))
        return x


def make_pool(pool: Pool) -> nn.Module:
    """Return torch's pooling module of a specification."""
    if pool.kind == "adaptive_avg":
        return nn.AdaptiveAvgPool2d(pool.kernel)
    if pool.kind == "max" and pool.padding == "same":
        return SameMaxPool2d(pool.kernel, pool.stride)
    padding = half_padding(pool.kernel, "valid" if pool.padding == "valid" else "half")
    if pool.kind == "max":
        return nn.MaxPool2d(pool.kernel, pool.stride, padding, ceil_mode=pool.ceil)
    return nn.AvgPool2d(pool.kernel, pool.stride, padding, ceil_mode=pool.ceil, count_include_pad=pool.include_pad)


class PoolTo(nn.Module):
    """Global pooling to size x size: (n, c, h, w) -> (n, c or 2c, size, size). The kinds are timm's."""

    def __init__(self, kind: GlobalPool, size: int = 1) -> None:
        super().__init__()
        self.kind, self.size = kind, size

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "avg":
            return F.adaptive_avg_pool2d(x, self.size)
        most = x.amax((2, 3), keepdim=True) if self.size == 1 else F.adaptive_max_pool2d(x, self.size)
        if self.kind == "max":
            return most
        mean = F.adaptive_avg_pool2d(x, self.size)
        return 0.5 * (mean + most) if self.kind == "avgmax" else torch.cat((mean, most), 1)

    def extra_repr(self) -> str:
        return f"{self.kind!r}, size={self.size}"


def check_head(num_classes: object, global_pool: object, drop_rate: object) -> None:
    """Check what a head is asked for.

    Raises:
        ArgumentError: one is outside its range, or classes are asked for without pooling.
    """
    check_int("num_classes", num_classes, 0)
    check_choice("global_pool", global_pool, GLOBAL_POOLS)
    if global_pool == "" and num_classes:
        raise ArgumentError(f"global_pool='' needs num_classes=0 (have {num_classes}): a classifier takes a pooled map")
    check_rate("drop_rate", drop_rate)


class ClassifierHead(nn.Module):
    """From feature maps to logits: (n, c, h, w) -> (n, num_classes).

    Without classes it gives the pre-logits, (n, num_features); without pooling, the map as it came.
    """

    def __init__(self, spec: Head, in_channels: int, num_classes: int, global_pool: GlobalPool, drop_rate: float) -> None:
        super().__init__()
        check_head(num_classes, global_pool, drop_rate)
        self.spec, self.in_channels, self.num_classes, self.global_pool = spec, in_channels, num_classes, global_pool
        self.pool = PoolTo(global_pool, spec.size if spec.kind == "mlp" else 1) if global_pool else nn.Identity()
        double = 2 if global_pool == "catavgmax" else 1
        fan_in, self.hidden = in_channels, nn.ModuleDict()
        for number, out in enumerate(spec.hidden if global_pool else (), 1):
            if spec.kind == "mlp":
                fan_in *= spec.size**2 * double if number == 1 else 1
                self.hidden[f"fc{number}"] = unset(nn.Linear, fan_in, out)
            else:
                self.hidden[f"fc{number}"] = unset(nn.Conv2d, fan_in, out, spec.size if number == 1 else 1)
            fan_in = out
        self.num_features = fan_in if spec.kind == "mlp" and self.hidden else fan_in * double
        self.drop = nn.Dropout(drop_rate)
        self.fc = unset(nn.Linear, self.num_features, num_classes) if num_classes else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every weight anew."""
        self.reset_hidden()
        self.reset_classifier()

    def reset_hidden(self) -> None:
        """Draw He's normal weights for the hidden layers; zero their biases."""
        for layer in self.hidden.values():
            nn.init.kaiming_normal_(layer.get_parameter("weight"), mode="fan_in", nonlinearity="relu")
            nn.init.zeros_(layer.get_parameter("bias"))

    def reset_classifier(self) -> None:
        """Draw small normal weights (0.01) for the classifier, so that training starts from even odds; zero its bias."""
        if isinstance(self.fc, nn.Linear):
            nn.init.normal_(self.fc.weight, 0.0, 0.01)
            nn.init.zeros_(self.fc.bias)

    def renewed(self, num_classes: int, global_pool: GlobalPool | None, like: Tensor) -> ClassifierHead:
        """Return a head with a new classifier, of `like`'s device and dtype; hidden layers stay where their shapes do."""
        with torch.device("meta"):
            pool = self.global_pool if global_pool is None else global_pool
            head = ClassifierHead(self.spec, self.in_channels, num_classes, pool, self.drop.p)
        keep = _shapes(head.hidden) == _shapes(self.hidden)
        for module in (head.fc,) if keep else (head.hidden, head.fc):
            module.to(like.dtype).to_empty(device=like.device)
        if keep:
            head.hidden = self.hidden
        else:
            head.reset_hidden()
        head.reset_classifier()
        return head.train(self.training)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if not self.global_pool:
            return x
        sliding = self.spec.kind == "conv"
        if sliding:  # at least as large as the window; averaging to its own size leaves a map as it is
            size = (torch.sym_max(self.spec.size, x.shape[-2]), torch.sym_max(self.spec.size, x.shape[-1]))
            x = F.adaptive_avg_pool2d(x, size)  # type: ignore[arg-type]  # symbolic sizes too
        else:
            x = self.pool(x).flatten(1)
        for index, layer in enumerate(self.hidden.values()):
            x = F.relu(layer(self.drop(x) if index else x))
        if sliding:
            x = self.pool(x).flatten(1)
        x = self.drop(x)
        return x if pre_logits else self.fc(x)


def _shapes(module: nn.Module) -> Mapping[str, torch.Size]:
    return {key: tensor.shape for key, tensor in module.state_dict().items()}


class AuxHead(nn.Module):
    """An auxiliary classifier on an intermediate map: (n, c, h, w) -> (n, num_classes)."""

    def __init__(self, layers: nn.Module, head: ClassifierHead, weight: float) -> None:
        super().__init__()
        self.layers, self.head, self.weight = layers, head, weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.layers(x))
        return x
