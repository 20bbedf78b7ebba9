"""Inception v3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, arXiv:1512.00567."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from ..errors import check_choice, check_flag
from ..spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Aux,
    Concat,
    Conv,
    DataConfig,
    Entry,
    Head,
    Layer,
    Layout,
    Network,
    Pool,
    Published,
    chain,
    concat,
    keras_layouts,
    keras_weights,
    network,
    numbered,
)

PAPER = "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, arXiv:1512.00567"
HALF = (0.5, 0.5, 0.5)
DOWN = Pool("max", 3, 2, "valid")
AVERAGE = Pool("avg", 3)


def stem() -> dict[str, Layer]:
    """Return the layers before the first block: (3, 299, 299) -> (192, 35, 35).

    They are those of TF-slim, torchvision and timm. Table 1 of the paper has three 3x3 convolutions after the first pool.
    """
    return dict(
        Conv2d_1a_3x3=Conv(32, 3, 2, "valid"),
        Conv2d_2a_3x3=Conv(32, 3, padding="valid"),
        Conv2d_2b_3x3=Conv(64, 3),
        pool1=DOWN,
        Conv2d_3b_1x1=Conv(80),
        Conv2d_4a_3x3=Conv(192, 3, padding="valid"),
        pool2=DOWN,
    )


def inception_a(proj: int, *, pool: Pool = AVERAGE) -> Concat:
    """Return the block of Figure 5, for the 35x35 grid: (c, h, w) -> (224 + proj, h, w).

    The second branch has a 5x5 convolution, as in TF-slim, torchvision and timm; the figure has a 3x3 there.
    """
    return concat(
        branch1x1=Conv(64),
        branch5x5=chain(Conv(48), Conv(64, 5)),
        branch3x3dbl=chain(Conv(64), Conv(96, 3), Conv(96, 3)),
        branch_pool=chain(pool, Conv(proj)),
    )


def reduction_a() -> Concat:
    """Return the block of Figure 10, from 35x35 to 17x17: (c, h, w) -> (384 + 96 + c, (h - 1) // 2, (w - 1) // 2)."""
    return concat(
        branch3x3=Conv(384, 3, 2, "valid"),
        branch3x3dbl=chain(Conv(64), Conv(96, 3), Conv(96, 3, 2, "valid")),
        branch_pool=DOWN,
    )


def inception_c(seven: int, *, pool: Pool = AVERAGE) -> Concat:
    """Return the block of Figure 6 with n = 7, for the 17x17 grid: (c, h, w) -> (768, h, w).

    `seven` is the number of channels between the 1x7 and 7x1 convolutions that replace a 7x7.
    """
    return concat(
        branch1x1=Conv(192),
        branch7x7=chain(Conv(seven), Conv(seven, (1, 7)), Conv(192, (7, 1))),
        branch7x7dbl=chain(Conv(seven), Conv(seven, (7, 1)), Conv(seven, (1, 7)), Conv(seven, (7, 1)), Conv(192, (1, 7))),
        branch_pool=chain(pool, Conv(192)),
    )


def reduction_b() -> Concat:
    """Return the block from 17x17 to 8x8, as in Figure 10: (c, h, w) -> (320 + 192 + c, (h - 1) // 2, (w - 1) // 2)."""
    return concat(
        branch3x3=chain(Conv(192), Conv(320, 3, 2, "valid")),
        branch7x7x3=chain(Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, "valid")),
        branch_pool=DOWN,
    )


def inception_e(*, pool: Pool = AVERAGE) -> Concat:
    """Return the block of Figure 7, for the 8x8 grid: (c, h, w) -> (2048, h, w). Two branches end in parallel 1x3 and 3x1."""
    fork = concat(a=Conv(384, (1, 3)), b=Conv(384, (3, 1)))
    return concat(
        branch1x1=Conv(320),
        branch3x3=chain(Conv(384), fork),
        branch3x3dbl=chain(Conv(448), Conv(384, 3), fork),
        branch_pool=chain(pool, Conv(192)),
    )


def inception_v3(*, include_pad: bool = True, last_pool: Literal["avg", "max"] = "avg", aux: bool = True) -> Network:
    """Return Inception v3. The defaults are torchvision's and timm's.

    `include_pad`: whether average pools count the zeros of the padding; TensorFlow's do not. `last_pool`: the kind of the pool
    in the last block; the network of FID has "max". `aux`: whether there is an auxiliary head (Figure 8), on `Mixed_6e`.

    Raises:
        ArgumentError: an argument has none of these values.
    """
    check_flag("include_pad", include_pad)
    check_choice("last_pool", last_pool, ("avg", "max"))
    check_flag("aux", aux)
    average = Pool("avg", 3, include_pad=include_pad)
    side = chain(Pool("avg", 5, 3, "valid"), Conv(128), Conv(768, 5, padding="valid"))
    return network(
        stem(),
        Mixed_5b=inception_a(32, pool=average),
        Mixed_5c=inception_a(64, pool=average),
        Mixed_5d=inception_a(64, pool=average),
        Mixed_6a=reduction_a(),
        Mixed_6b=inception_c(128, pool=average),
        Mixed_6c=inception_c(160, pool=average),
        Mixed_6d=inception_c(160, pool=average),
        Mixed_6e=inception_c(192, pool=average),
        Mixed_7a=reduction_b(),
        Mixed_7b=inception_e(pool=average),
        Mixed_7c=inception_e(pool=average if last_pool == "avg" else Pool("max", 3)),
        head=Head(drop_rate=0.5),
        aux=(Aux("Mixed_6e", side, Head()),) if aux else (),
    )


TORCHVISION = Layout(  # timm's and pytorch-fid's too
    "torchvision",
    prefixes=(
        ("features.", ""),
        ("head.fc.", "fc."),
        ("aux.Mixed_6e.layers.1.", "AuxLogits.conv0."),
        ("aux.Mixed_6e.layers.2.", "AuxLogits.conv1."),
        ("aux.Mixed_6e.head.fc.", "AuxLogits.fc."),
    ),
    inner=(
        (".branch_pool.1.", ".branch_pool."),
        (".branch3x3.1.a.", ".branch3x3_2a."),
        (".branch3x3.1.b.", ".branch3x3_2b."),
        (".branch3x3dbl.2.a.", ".branch3x3dbl_3a."),
        (".branch3x3dbl.2.b.", ".branch3x3dbl_3b."),
        (".0.", "_1."),
        (".1.", "_2."),
        (".2.", "_3."),
        (".3.", "_4."),
        (".4.", "_5."),
    ),
)

KERAS_LAYOUTS = keras_layouts(
    inception_v3(), numbered, dense=(("head.fc", "predictions"),), scale=False, arguments={"include_pad": False}
)

BICUBIC = DataConfig(input_size=(3, 299, 299), mean=HALF, std=HALF, interpolation="bicubic")
SQUASHED = DataConfig(input_size=(3, 299, 299), mean=HALF, std=HALF, crop_pct=1.0, crop_mode="squash")
FID = DataConfig(input_size=(3, 299, 299), mean=HALF, std=HALF, crop_pct=1.0)


def timm(tag: str, top1: float, data: DataConfig = BICUBIC) -> Published:
    """Return timm's published weights of this tag. timm runs all of them with average pools that count padding."""
    return Published(url=f"hf-hub:timm/inception_v3.{tag}", license="apache-2.0", layout="torchvision", data=data, top1=top1)


ENTRIES = (
    Entry(
        name="inception_v3",
        network=inception_v3,
        paper=PAPER,
        about="torchvision's and timm's layout: average pools count the padding",
        data=BICUBIC,
        layouts=(TORCHVISION, *KERAS_LAYOUTS),
        weights={
            "tv_in1k": timm("tv_in1k", 77.472),
            "tf_in1k": timm("tf_in1k", 77.866),
            "tf_adv_in1k": timm("tf_adv_in1k", 77.598),
            "gluon_in1k": timm("gluon_in1k", 78.806, replace(BICUBIC, mean=IMAGENET_MEAN, std=IMAGENET_STD)),
            **keras_weights(
                "inception_v3",
                "9a0d58056eeedaa3f26cb7ebd46da564",
                "bcbd6486424b2319ff4ef7d526e38f63",
                data=SQUASHED,
                license="apache-2.0",
                top1=77.9,
                arguments={"include_pad": False},
            ),
        },
    ),
    Entry(
        name="inception_v3_fid",
        network=partial(inception_v3, include_pad=False, last_pool="max", aux=False),
        paper=PAPER,
        about="the TensorFlow graph of 2015 that defines FID: average pools leave out the padding, the last pool is a max",
        num_classes=1008,
        data=FID,
        layouts=(TORCHVISION,),
        weights={
            "tf_2015": Published(
                url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
                digest="sha256:6726825d",
                license="apache-2.0",
                layout="torchvision",
                data=FID,
                num_classes=1008,
            )
        },
    ),
)
