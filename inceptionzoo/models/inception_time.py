"""InceptionTime: Ismail Fawaz et al., "InceptionTime: Finding AlexNet for Time Series Classification", DMKD 2020.

arXiv:1909.04939. A network for signals: (n, c, length) -> (n, num_classes).
"""

from __future__ import annotations

from typing import Any, Literal

from ..errors import ArgumentError, check_choice, check_int
from ..spec import Act, Conv, DataConfig, Entry, Layer, Layout, Network, Norm, Pool, Residual, Style, chain, concat, network

PAPER = (
    "Ismail Fawaz et al., InceptionTime: Finding AlexNet for Time Series Classification, Data Mining and Knowledge Discovery "
    "2020, arXiv:1909.04939"
)


def module(width: int = 32, kernels: tuple[int, ...] = (40, 20, 10), bottleneck: int = 32) -> Layer:
    """Return an Inception module (Figure 2): (c, length) -> (width * (1 + number of kernels), length).

    All convolutions are linear. The bottleneck of 1x1 is left out for an input of one channel.
    """

    def linear(out: int, kernel: int = 1, min_channels: int = 1) -> Conv:
        return Conv(out, kernel, padding="same", norm=False, act=False, min_channels=min_channels)

    convs = concat(**{f"conv{number}": linear(width, kernel) for number, kernel in enumerate(kernels, 1)})
    branches = concat(convs=chain(linear(bottleneck, min_channels=2), convs), pool=chain(Pool("max", 3), linear(width)))
    return chain(branches, Norm(), Act())


def inception_time(
    *,
    depth: int = 6,
    width: int = 32,
    kernels: tuple[int, ...] = (40, 20, 10),
    shortcut: Literal["conv", "norm"] = "conv",
    eps: float = 1e-3,
) -> Network:
    """Return one of the five networks of InceptionTime (Figure 1): modules with a shortcut around each three.

    Args:
        depth: the number of modules. Modules after the last three have no shortcut.
        width: the channels of each branch.
        kernels: the lengths of the kernels of a module; tsai has (39, 19, 9).
        shortcut: "conv", the paper's: a 1x1 convolution and batch normalisation; "norm", tsai's: after the first shortcut,
            which changes the number of channels, batch normalisation alone.
        eps: the epsilon of batch normalisation: 1e-3, the paper's (Keras's); sktime and tsai have 1e-5.

    Raises:
        ArgumentError: `depth` is below 1, `kernels` is empty, or `shortcut` has another value.
    """
    check_int("depth", depth, 1)
    check_choice("shortcut", shortcut, ("conv", "norm"))
    if not isinstance(kernels, tuple | list) or not kernels:
        raise ArgumentError(f"kernels={kernels!r} must be a tuple of one or more lengths, such as (40, 20, 10)")
    step = module(width, kernels)
    project: Layer = Conv(width * (1 + len(kernels)), act=False)
    stages: dict[str, Layer] = {}
    for number in range(1, depth // 3 + 1):
        way = Norm() if shortcut == "norm" and number > 1 else project
        stages[f"block{number}"] = Residual(chain(step, step, step), project=False, shortcut=way)
    stages |= {f"module{number}": step for number in range(depth // 3 * 3 + 1, depth + 1)}
    return network(stages, style=Style(eps=eps), spatial_dims=1)


def _layout(
    name: str, modules: str, shortcuts: str, parts: tuple[str, ...], inner: tuple[tuple[str, str], ...], **arguments: Any
) -> Layout:
    """Return the names of a port: of its modules, its shortcuts, and the bottleneck, convolutions and pool of a module."""
    bottleneck, convs, pool = parts
    steps = [
        (f"features.block{block}.body.{step}.", f"{modules}.{3 * block + step - 3}.") for block in (1, 2) for step in range(3)
    ]
    return Layout(
        name,
        prefixes=(
            *((f"{ours}1.", f"{theirs}bn.") for ours, theirs in steps),
            *steps,
            *((f"features.block{block}.shortcut.", f"{shortcuts}.{block - 1}.") for block in (1, 2)),
            ("head.fc.", "fc."),
        ),
        inner=(
            (".0.convs.0.conv.", f".{bottleneck}."),
            *((f".0.convs.1.conv{number}.conv.", f".{convs}.{number - 1}.") for number in (1, 2, 3)),
            (".0.pool.1.conv.", f".{pool}."),
            *inner,
        ),
        arguments=arguments,
    )


SKTIME = _layout(
    "sktime", "inception_modules", "shortcut_layers", ("bottleneck", "conv_list", "conv_from_maxpool"), (), eps=1e-5
)
TSAI = _layout(
    "tsai",
    "inceptionblock.inception",
    "inceptionblock.shortcut",
    ("bottleneck", "convs", "maxconvpool.1"),
    (("shortcut.0.conv.", "shortcut.0.0."), ("shortcut.0.bn.", "shortcut.0.1.")),
    kernels=(39, 19, 9),
    eps=1e-5,
    shortcut="norm",
)
ENTRIES = (
    Entry(
        name="inception_time",
        network=inception_time,
        paper=PAPER,
        about="the network for time series; an Ensemble of five is the paper's classifier",
        num_classes=2,
        data=DataConfig(input_size=(1, 128), mean=(0.0,), std=(1.0,)),
        layouts=(SKTIME, TSAI),
    ),
)
