"""Xception: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, arXiv:1610.02357."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from ..errors import check_choice
from ..spec import (
    Act,
    Conv,
    DataConfig,
    Depthwise,
    Entry,
    Head,
    Layer,
    Layout,
    Network,
    Pool,
    Published,
    Residual,
    Style,
    chain,
    keras_layouts,
    keras_weights,
    network,
)

PAPER = "Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017, arXiv:1610.02357"
HALF = (0.5, 0.5, 0.5)


def separable(out: int, *, act: bool = False) -> Layer:
    """Return a separable convolution, a 3x3 depthwise and a normalised 1x1 convolution: (c, h, w) -> (out, h, w).

    There is no normalisation or activation between the two. `act=True` adds a ReLU after them.
    """
    return chain(Depthwise(3), Conv(out, act=act))


POOL = Pool("max", 3, 2)


def down(first: int, out: int, *, preact: bool = True, pool: Pool = POOL) -> Residual:
    """Return a block of the entry or exit flow of Figure 5: (c, h, w) -> (out, ceil(h / 2), ceil(w / 2)).

    Its body has separable convolutions of `first` and `out` channels and a max pool; its shortcut is a 1x1 convolution of
    stride 2. `preact=False` leaves out the ReLU at the start of the body, for an input that comes from a ReLU.
    """
    start = (Act(),) if preact else ()
    body = chain(*start, separable(first), Act(), separable(out), pool)
    return Residual(body, project=False, shortcut=Conv(out, stride=2, act=False), act=False)


def middle(width: int) -> Residual:
    """Return the block of the middle flow of Figure 5: (width, h, w) -> (width, h, w)."""
    body = chain(Act(), separable(width), Act(), separable(width), Act(), separable(width))
    return Residual(body, project=False, act=False)


def xception(*, eps: float = 1e-5, pool_padding: Literal["half", "same"] = "half") -> Network:
    """Return Xception (Figure 5): entry flow, eight middle blocks, exit flow. The defaults are timm's.

    `eps` is the epsilon of the batch normalisation; Keras, where the weights were trained, has 1e-3. `pool_padding` is the
    padding of the four max pools: "half" pads one pixel on every side; "same", Keras's, pads an even map at the bottom and
    right only.

    Raises:
        ArgumentError: an argument is outside its range.
    """
    check_choice("pool_padding", pool_padding, ("half", "same"))
    pool = replace(POOL, padding=pool_padding)
    entry: dict[str, Layer] = dict(
        conv1=Conv(32, 3, 2, "valid"),
        conv2=Conv(64, 3, padding="valid"),
        block1=down(128, 128, preact=False, pool=pool),
        block2=down(256, 256, pool=pool),
        block3=down(728, 728, pool=pool),
    )
    eight = {f"block{number}": middle(728) for number in range(4, 12)}
    end: dict[str, Layer] = dict(
        block12=down(728, 1024, pool=pool),
        conv3=separable(1536, act=True),
        conv4=separable(2048, act=True),
    )
    head = Head(drop_rate=0.5)  # section 4.3: dropout before the classifier
    return network(entry, eight, end, head=head, style=Style(eps=eps))


TIMM = Layout(
    "timm",
    prefixes=(
        ("features.conv1.conv.", "conv1."),
        ("features.conv1.bn.", "bn1."),
        ("features.conv2.conv.", "conv2."),
        ("features.conv2.bn.", "bn2."),
        ("features.block1.body.0.0.conv.", "block1.rep.0.conv1."),
        ("features.block1.body.0.1.conv.", "block1.rep.0.pointwise."),
        ("features.block1.body.0.1.bn.", "block1.rep.1."),
        ("features.block1.body.2.0.conv.", "block1.rep.3.conv1."),
        ("features.block1.body.2.1.conv.", "block1.rep.3.pointwise."),
        ("features.block1.body.2.1.bn.", "block1.rep.4."),
        *((f"features.block{number}.", f"block{number}.") for number in range(1, 13)),
        ("features.conv3.0.conv.", "conv3.conv1."),
        ("features.conv3.1.conv.", "conv3.pointwise."),
        ("features.conv3.1.bn.", "bn3."),
        ("features.conv4.0.conv.", "conv4.conv1."),
        ("features.conv4.1.conv.", "conv4.pointwise."),
        ("features.conv4.1.bn.", "bn4."),
        ("head.fc.", "fc."),
    ),
    inner=(
        (".shortcut.conv.", ".skip."),
        (".shortcut.bn.", ".skipbn."),
        (".body.1.0.conv.", ".rep.1.conv1."),
        (".body.1.1.conv.", ".rep.1.pointwise."),
        (".body.1.1.bn.", ".rep.2."),
        (".body.3.0.conv.", ".rep.4.conv1."),
        (".body.3.1.conv.", ".rep.4.pointwise."),
        (".body.3.1.bn.", ".rep.5."),
        (".body.5.0.conv.", ".rep.7.conv1."),
        (".body.5.1.conv.", ".rep.7.pointwise."),
        (".body.5.1.bn.", ".rep.8."),
    ),
)

CADENE = replace(TIMM, name="cadene", prefixes=(("head.fc.", "last_linear."), *TIMM.prefixes))

UNITS = {1: "stage1.unit1", 2: "stage2.unit1", 3: "stage3.unit1", 12: "stage4.unit1"} | {
    number: f"stage3.unit{number - 2}" for number in range(4, 12)
}

PYTORCHCV = Layout(
    "pytorchcv",
    prefixes=(
        ("features.conv1.", "features.init_block.conv1."),
        ("features.conv2.", "features.init_block.conv2."),
        ("features.block1.body.0.", "features.stage1.unit1.body.block1."),
        ("features.block1.body.2.", "features.stage1.unit1.body.block2."),
        *(
            (f"features.block{number}.body.{step}.", f"features.{unit}.body.block{(step + 1) // 2}.")
            for number, unit in UNITS.items()
            for step in (1, 3, 5)
        ),
        *((f"features.block{number}.shortcut.", f"features.{unit}.identity_conv.") for number, unit in UNITS.items()),
        ("features.conv3.", "features.final_block.conv1."),
        ("features.conv4.", "features.final_block.conv2."),
        ("head.fc.", "output."),
    ),
    inner=(
        (".0.conv.", ".conv.dw_conv."),
        (".1.conv.", ".conv.pw_conv."),
        (".1.bn.", ".bn."),
    ),
)


def keras_name(path: str) -> str:
    """Return Keras's name of a layer, "block2_sepconv1"; "" for a convolution of a shortcut. `path` is that of our module."""
    _, stage, *steps = path.removesuffix(".bn").split(".")
    suffix = "_bn" if path.endswith(".bn") else ""
    if "shortcut" in steps:
        return ""
    if stage in ("conv1", "conv2"):
        return f"block1_{stage}{suffix}"
    if stage in ("conv3", "conv4"):
        return f"block14_sepconv{int(stage[-1]) - 2}{suffix}"
    return f"block{int(stage.removeprefix('block')) + 1}_sepconv{int(steps[1]) // 2 + 1}{suffix}"


KERAS = {"eps": 1e-3, "pool_padding": "same"}
KERAS_LAYOUTS = keras_layouts(xception(), keras_name, dense=(("head.fc", "predictions"),), arguments=KERAS)

WIDE = DataConfig(input_size=(3, 299, 299), mean=HALF, std=HALF, interpolation="bicubic", crop_pct=0.8975)
SQUASHED = replace(WIDE, interpolation="bilinear", crop_pct=1.0, crop_mode="squash")  # keras.utils.load_img(target_size=)
ENTRIES = (
    Entry(
        name="xception",
        network=xception,
        paper=PAPER,
        about="Figure 5 of the paper, as timm's legacy_xception",
        data=WIDE,
        layouts=(TIMM, PYTORCHCV, CADENE, *KERAS_LAYOUTS),
        weights={
            "tf_in1k": Published(
                url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth",
                digest="sha256:43020ad28",
                license="apache-2.0",
                layout="timm",
                data=WIDE,
                top1=79.058,
            )
        },
    ),
    Entry(
        name="xception_keras",
        network=partial(xception, eps=1e-3, pool_padding="same"),
        paper=PAPER,
        about="Figure 5 of the paper, as Keras's Xception, on which the weights were trained",
        data=SQUASHED,
        layouts=(TIMM, PYTORCHCV, CADENE, *KERAS_LAYOUTS),
        weights=keras_weights(
            "xception",
            "0a58e3b7378bc2990ea3b43d5981f1f6",
            "b0042744bf5b25fce3cb969f33bebb97",
            data=SQUASHED,
            license="mit",
            top1=79.0,
        ),
    ),
)
