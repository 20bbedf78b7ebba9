"""Inception-v4: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"."""

from __future__ import annotations

from ..spec import Concat, Conv, DataConfig, Entry, Head, Layer, Layout, Network, Pool, Published, chain, concat, network

PAPER = (
    "Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, AAAI 2017, "
    "arXiv:1602.07261"
)
HALF = (0.5, 0.5, 0.5)
DOWN = Pool("max", 3, 2, "valid")
AVERAGE = Pool("avg", 3, include_pad=False)


def stem() -> dict[str, Layer]:
    """Return the stem of Figure 3: (3, 299, 299) -> (384, 35, 35). The paper marks layers with "valid" padding with V."""
    return dict(
        Conv2d_1a_3x3=Conv(32, 3, 2, "valid"),
        Conv2d_2a_3x3=Conv(32, 3, padding="valid"),
        Conv2d_2b_3x3=Conv(64, 3),
        Mixed_3a=concat(branch0=DOWN, branch1=Conv(96, 3, 2, "valid")),
        Mixed_4a=concat(
            branch0=chain(Conv(64), Conv(96, 3, padding="valid")),
            branch1=chain(Conv(64), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, padding="valid")),
        ),
        Mixed_5a=concat(branch0=Conv(192, 3, 2, "valid"), branch1=DOWN),
    )


def inception_a() -> Concat:
    """Return the block of Figure 4, for the 35x35 grid: (c, h, w) -> (384, h, w)."""
    return concat(
        branch0=Conv(96),
        branch1=chain(Conv(64), Conv(96, 3)),
        branch2=chain(Conv(64), Conv(96, 3), Conv(96, 3)),
        branch3=chain(AVERAGE, Conv(96)),
    )


def inception_b() -> Concat:
    """Return the block of Figure 5, for the 17x17 grid: (c, h, w) -> (1024, h, w)."""
    return concat(
        branch0=Conv(384),
        branch1=chain(Conv(192), Conv(224, (1, 7)), Conv(256, (7, 1))),
        branch2=chain(Conv(192), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))),
        branch3=chain(AVERAGE, Conv(128)),
    )


def inception_c() -> Concat:
    """Return the block of Figure 6, for the 8x8 grid: (c, h, w) -> (1536, h, w). Two branches end in parallel 1x3 and 3x1."""
    fork = concat(a=Conv(256, (1, 3)), b=Conv(256, (3, 1)))
    return concat(
        branch0=Conv(256),
        branch1=chain(Conv(384), fork),
        branch2=chain(Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), fork),
        branch3=chain(AVERAGE, Conv(256)),
    )


def reduction_a(k: int, l: int, m: int, n: int) -> Concat:  # noqa: E741  # the names of Table 1
    """Return the block of Figure 7: (c, h, w) -> (n + m + c, (h - 1) // 2, (w - 1) // 2).

    `k`, `l`, `m`, `n` are a row of Table 1.
    """
    return concat(
        branch0=Conv(n, 3, 2, "valid"),
        branch1=chain(Conv(k), Conv(l, 3), Conv(m, 3, 2, "valid")),
        branch2=DOWN,
    )


def reduction_b() -> Concat:
    """Return the block of Figure 8: (c, h, w) -> (192 + 320 + c, (h - 1) // 2, (w - 1) // 2)."""
    return concat(
        branch0=chain(Conv(192), Conv(192, 3, 2, "valid")),
        branch1=chain(Conv(256), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, 2, "valid")),
        branch2=DOWN,
    )


def inception_v4() -> Network:
    """Return Inception-v4 (Figure 9): the stem, 4 Inception-A, 7 Inception-B, 3 Inception-C, with reductions between them."""
    return network(
        stem(),
        {f"Mixed_5{letter}": inception_a() for letter in "bcde"},
        dict(Mixed_6a=reduction_a(k=192, l=224, m=256, n=384)),
        {f"Mixed_6{letter}": inception_b() for letter in "bcdefgh"},
        dict(Mixed_7a=reduction_b()),
        {f"Mixed_7{letter}": inception_c() for letter in "bcd"},
        head=Head(drop_rate=0.2),  # the paper's "keep 0.8"
    )


FORKED = (  # key prefixes (ours, theirs) of the branches of an Inception-C in timm
    ("branch0.", "branch0."),
    ("branch1.0.", "branch1_0."),
    ("branch1.1.a.", "branch1_1a."),
    ("branch1.1.b.", "branch1_1b."),
    ("branch2.0.", "branch2_0."),
    ("branch2.1.", "branch2_1."),
    ("branch2.2.", "branch2_2."),
    ("branch2.3.a.", "branch2_3a."),
    ("branch2.3.b.", "branch2_3b."),
    ("branch3.", "branch3."),
)

TIMM = Layout(
    "timm",
    prefixes=(
        ("features.Conv2d_1a_3x3.", "features.0."),
        ("features.Conv2d_2a_3x3.", "features.1."),
        ("features.Conv2d_2b_3x3.", "features.2."),
        ("features.Mixed_3a.branch1.", "features.3.conv."),
        ("features.Mixed_4a.", "features.4."),
        ("features.Mixed_5a.branch0.", "features.5.conv."),
        *((f"features.Mixed_5{letter}.", f"features.{index}.") for index, letter in enumerate("bcde", 6)),
        ("features.Mixed_6a.", "features.10."),
        *((f"features.Mixed_6{letter}.", f"features.{index}.") for index, letter in enumerate("bcdefgh", 11)),
        ("features.Mixed_7a.", "features.18."),
        *(
            (f"features.Mixed_7{letter}.{ours}", f"features.{index}.{theirs}")
            for index, letter in enumerate("bcd", 19)
            for ours, theirs in FORKED
        ),
        ("head.fc.", "last_linear."),
    ),
)

BICUBIC = DataConfig(input_size=(3, 299, 299), mean=HALF, std=HALF, interpolation="bicubic")
ENTRIES = (
    Entry(
        name="inception_v4",
        network=inception_v4,
        paper=PAPER,
        about="the paper's layout; average pools do not count the padding, as in the published weights (timm's)",
        data=BICUBIC,
        layouts=(TIMM,),
        weights={
            "tf_in1k": Published(
                url="hf-hub:timm/inception_v4.tf_in1k", license="apache-2.0", layout="timm", data=BICUBIC, top1=80.144
            )
        },
    ),
)
