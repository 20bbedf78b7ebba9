"""Random small networks of every kind of layer, and modules of a user's own that return maps in unusual memory layouts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn

import inceptionzoo as iz
from inceptionzoo.spec import with_spatial_dims

WIDTHS = 1, 2, 3, 4, 5, 8, 8, 12, 16, 20, 33
ODD = 1, 1, 3, 3, 5, 7, (1, 3), (3, 1), (1, 7), (5, 3)
ANY = *ODD, 2, 4, (2, 3), (1, 2)


class Apply(nn.Module):
    """A module that calls a function of the map."""

    def __init__(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name, self.function = name, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.name


OWN: dict[str, Callable[[Tensor], Tensor]] = {
    "same": lambda x: x,
    "view": lambda x: x[:],
    "add": lambda x: x + 1,
    "contiguous": lambda x: x.contiguous(),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3) * 2,
    "batch last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "expanded": lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    "every other": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "reversed": lambda x: x.flip(1, 2),
    "odd strides": lambda x: with_odd_strides(x.contiguous()),
    "tanh": torch.tanh,
}


def with_odd_strides(x: Tensor) -> Tensor:
    """Return a view of x whose sides of length one have strides of 7."""
    return x.as_strided(x.shape, [7 if side == 1 else stride for side, stride in zip(x.shape, x.stride(), strict=True)])


def random_network(pick: Random, dims: int) -> iz.Network:
    """Return a network of one to three stages. One for signals has no modules of a user's own, which are for images."""
    act = pick.choice(("relu", "relu", "relu", "silu", "leaky_relu", "hard_swish", "gelu"))
    style = iz.Style(norm=pick.choice(("batch", "batch", "group", None)), bias=pick.random() < 0.5, act=act)
    stages = {f"stage{index}": random_stage(pick, depth=2) for index in range(pick.choice((1, 1, 2, 2, 3)))}
    return with_spatial_dims(iz.network(**stages, style=style), dims)


def random_stage(pick: Random, depth: int) -> iz.Layer:
    """Return a layer of any kind; up to `depth` blocks inside each other."""
    kind = pick.choice(
        ("conv", "conv", "pool", "small", "block", "block", "down", "joined", "residual")
        if depth
        else ("conv", "pool", "small")
    )
    stride = pick.choice((1, 1, 2, 3))
    match kind:
        case "conv":
            return any_conv(pick)
        case "pool":
            return any_pool(pick)
        case "small":
            return small_layer(pick)
        case "block" | "down":
            branches = [branch(pick, depth, stride if kind == "down" else 1) for _ in range(pick.randint(1, 3))]
            return iz.concat(**dict(zip("abcd", branches, strict=False)))
        case "joined":
            convs = [linear_conv(pick) for _ in range(pick.randint(1, 3))]
            return iz.chain(iz.concat(**dict(zip("abcd", convs, strict=False))), *pick.choice(AFTER_JOINED))
    return residual(pick, depth)


AFTER_JOINED = (iz.Norm(), iz.Act()), (iz.Act(),), (iz.Norm(),), (iz.Act(), iz.Norm()), (iz.Norm("lrn"), iz.Act())


def linear_conv(pick: Random) -> iz.Layer:
    """Return a convolution without activation, alone or after others."""
    last = iz.Conv(pick.choice(WIDTHS), pick.choice(ODD), norm=pick.random() < 0.5, act=False)
    return last if pick.random() < 0.5 else iz.chain(branch(pick, 0, 1), last)


def residual(pick: Random, depth: int) -> iz.Layer:
    """Return a residual block, with a projection, or with a body that keeps the channels, or with its own shortcut."""
    options = {"scale": pick.choice((1.0, 1.0, 0.3)), "act": pick.random() < 0.5}
    match pick.choice(("project", "project", "keep", "shortcut")):
        case "keep":
            bodies = iz.Depthwise(3), iz.Pool("avg", 3), iz.Pool("max", 3), iz.Act(), iz.Norm(), iz.Pool("adaptive_avg", 1)
            return iz.Residual(pick.choice(bodies), project=False, **options)
        case "shortcut":
            width = pick.choice(WIDTHS)
            body, shortcut = (iz.chain(branch(pick, depth, 1), iz.Conv(width, act=False)) for _ in range(2))
            return iz.Residual(body, project=False, shortcut=shortcut, **options)
    return iz.Residual(branch(pick, depth, 1), **options)


def any_conv(pick: Random) -> iz.Layer:
    """Return a convolution with any kernel, stride, padding and dilation."""
    kernel, padding = pick.choice(ANY), pick.choice(("half", "half", "same", "valid"))
    smallest = kernel if isinstance(kernel, int) else min(kernel)
    stride = pick.choice([step for step in (1, 1, 2, 3) if step <= smallest or padding != "same"])
    options = {"dilation": pick.choice((1, 1, 1, 2)), "act": pick.random() < 0.8, "norm": pick.random() < 0.8}
    if pick.random() < 0.2:
        return iz.Depthwise(kernel, stride, padding, multiplier=pick.choice((1, 2)), dilation=options["dilation"])
    return iz.Conv(pick.choice(WIDTHS), kernel, stride, padding, **options)


def any_pool(pick: Random) -> iz.Layer:
    """Return a pool with any window."""
    match pick.choice(("max", "max", "avg", "same", "ceil", "adaptive")):
        case "adaptive":
            return iz.Pool("adaptive_avg", pick.choice((1, 2, (1, 3))))
        case "same":
            return iz.Pool("max", pick.choice((2, 3)), pick.choice((1, 2)), "same", dilation=pick.choice((1, 1, 2)))
        case "ceil":
            return iz.Pool("max", 3, pick.choice((2, 3)), pick.choice(("half", "valid")), ceil="pad")
        case kind:
            padding, include_pad = pick.choice(("half", "valid")), pick.random() < 0.5
            return iz.Pool(
                kind, pick.choice(ANY), pick.choice((1, 2, 3)), padding, ceil=pick.random() < 0.4, include_pad=include_pad
            )


def small_layer(pick: Random) -> iz.Layer:
    """Return a layer that keeps the shape."""
    name = pick.choice([*OWN, "act", "norm", "lrn"])
    match name:
        case "act":
            return iz.Act()
        case "norm":
            return iz.Norm()
        case "lrn":
            return iz.Norm("lrn")
    return iz.chain(iz.Conv(width := pick.choice(WIDTHS)), iz.Op(lambda _: Apply(name, OWN[name]), width))


def branch(pick: Random, depth: int, stride: int) -> iz.Layer:
    """Return a layer of a block: h' = ceil(h / stride)."""
    layers: list[iz.Layer] = []
    if pick.random() < 0.3:
        layers.append(iz.Pool(pick.choice(("avg", "avg", "max")), 3, include_pad=pick.random() < 0.5))
    if pick.random() < 0.7:
        layers.append(iz.Conv(pick.choice(WIDTHS), act=pick.random() < 0.8))
    if pick.random() < 0.2:
        layers.append(small_layer(pick))
    if depth and pick.random() < 0.2:
        inner = [branch(pick, depth - 1, 1) for _ in range(pick.randint(1, 2))]
        layers.append(iz.concat(**dict(zip("xyz", inner, strict=False))))
    if stride > 1 or not layers or pick.random() < 0.5:
        kernel = pick.choice([kernel for kernel in ODD if stride == 1 or kernel in (3, 5)])
        last = iz.Pool(pick.choice(("max", "avg")), kernel, stride)
        layers.append(
            last if pick.random() < 0.3 else iz.Conv(pick.choice(WIDTHS), kernel, stride, pick.choice(("half", "same")))
        )
    return iz.chain(*layers)
