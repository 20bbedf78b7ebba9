"""BN-Inception: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training", ICML 2015, arXiv:1502.03167."""

from __future__ import annotations

from functools import partial
from typing import Literal

from ..errors import check_choice
from ..spec import (
    Concat,
    Conv,
    DataConfig,
    Depthwise,
    Entry,
    Head,
    Layer,
    Layout,
    Network,
    Padding,
    Pool,
    Published,
    Style,
    chain,
    concat,
    network,
)

PAPER = (
    "Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift, "
    "ICML 2015, arXiv:1502.03167"
)
HALF = (0.5, 0.5, 0.5)
DOWN = Pool("max", 3, 2, "valid", ceil=True)


def inception_double(
    n1: int, r3: int, n3: int, rd: int, nd: int, pool: Literal["avg", "max"], proj: int, *, include_pad: bool = True
) -> Concat:
    """Return one row of Figure 5 as a block: (c, h, w) -> (n1 + n3 + nd + proj, h, w). Two 3x3 replace GoogLeNet's 5x5.

    The arguments are the columns of the figure: #1x1, #3x3 reduce, #3x3, double #3x3 reduce, double #3x3, and the kind and the
    projection of "Pool + proj". `include_pad` says whether an average pool counts the zeros of the padding.
    """
    return concat(
        branch1=Conv(n1),
        branch2=chain(Conv(r3), Conv(n3, 3)),
        branch3=chain(Conv(rd), Conv(nd, 3), Conv(nd, 3)),
        branch4=chain(Pool(pool, 3, include_pad=include_pad), Conv(proj)),
    )


def reduction_double(r3: int, n3: int, rd: int, nd: int, *, padding: Padding = "half") -> Concat:
    """Return one row of stride 2 of Figure 5: (c, h, w) -> (n3 + nd + c, ceil(h / 2), ceil(w / 2)).

    It has no 1x1 branch, so its branches are numbered from 2. Its pool has no projection. `padding` is the padding of the
    strided convolutions. The pool is padded so that its map always has the size of theirs. For even input sizes this equals
    Caffe, whose pool rounds up. For odd sizes, Caffe's branches have different sizes.
    """
    return concat(
        branch2=chain(Conv(r3), Conv(n3, 3, 2, padding)),
        branch3=chain(Conv(rd), Conv(nd, 3), Conv(nd, 3, 2, padding)),
        branch4=Pool("max", 3, 2, "same"),
    )


def rows(late: int, *, include_pad: bool = True, padding: Padding = "half") -> dict[str, Layer]:
    """Return rows 3a to 5b of Figure 5: (192, 28, 28) -> (1024, 7, 7). `late` is the pool projection of rows 4c and 4d."""
    inception = partial(inception_double, include_pad=include_pad)
    reduction = partial(reduction_double, padding=padding)
    # fmt: off
    return dict(
        #                     #1x1 #3x3r #3x3 #d3x3r #d3x3  pool + proj
        inception3a=inception(  64,   64,  64,    64,   96, "avg",  32),
        inception3b=inception(  64,   64,  96,    64,   96, "avg",  64),
        inception3c=reduction(       128, 160,    64,   96            ),
        inception4a=inception( 224,   64,  96,    96,  128, "avg", 128),
        inception4b=inception( 192,   96, 128,    96,  128, "avg", 128),
        inception4c=inception( 160,  128, 160,   128,  160, "avg", late),
        inception4d=inception(  96,  128, 192,   160,  192, "avg", late),
        inception4e=reduction(       128, 192,   192,  256            ),
        inception5a=inception( 352,  192, 320,   160,  224, "avg", 128),
        inception5b=inception( 352,  192, 320,   192,  224, "max", 128),
    )
    # fmt: on


def bn_inception(*, widths: Literal["cadene", "onnx"] = "cadene") -> Network:
    """Return BN-Inception as in Caffe: biases before batch normalisation, pools that round up.

    With `widths="cadene"` rows 4c and 4d project their pools to 128 channels, which gives 608 channels after 4d and 1056 after
    4e. With `widths="onnx"` they project to 96 channels, which gives 576 and 1024.

    Raises:
        ArgumentError: `widths` is neither.
    """
    check_choice("widths", widths, ("cadene", "onnx"))
    return network(
        dict(conv1=Conv(64, 7, 2), pool1=DOWN, conv2=chain(Conv(64), Conv(192, 3)), pool2=DOWN),
        rows(128 if widths == "cadene" else 96),
        style=Style(eps=1e-5, bias=True),
    )


def inception_v2() -> Network:
    """Return TF-slim's Inception v2: TensorFlow's padding, average pools that do not count it, a separable first convolution.

    The first convolution has a bias and no normalisation. Rows 3a to 5b are slim's Mixed_3b to Mixed_5c.
    """
    down = Pool("max", 3, 2, "same")
    conv1 = chain(Depthwise(7, 2, "same", multiplier=8), Conv(64, norm=False, bias=True))
    return network(
        dict(conv1=conv1, pool1=down, conv2=chain(Conv(64), Conv(192, 3)), pool2=down),
        rows(96, include_pad=False, padding="same"),
        head=Head(drop_rate=0.2),
    )


CADENE = Layout(
    "cadene",
    prefixes=(
        ("features.conv1.conv.", "conv1_7x7_s2."),
        ("features.conv1.bn.", "conv1_7x7_s2_bn."),
        ("features.conv2.0.conv.", "conv2_3x3_reduce."),
        ("features.conv2.0.bn.", "conv2_3x3_reduce_bn."),
        ("features.conv2.1.conv.", "conv2_3x3."),
        ("features.conv2.1.bn.", "conv2_3x3_bn."),
        ("features.inception", "inception_"),
        ("head.fc.", "last_linear."),
    ),
    inner=(
        (".branch1.conv.", "_1x1."),
        (".branch1.bn.", "_1x1_bn."),
        (".branch2.0.conv.", "_3x3_reduce."),
        (".branch2.0.bn.", "_3x3_reduce_bn."),
        (".branch2.1.conv.", "_3x3."),
        (".branch2.1.bn.", "_3x3_bn."),
        (".branch3.0.conv.", "_double_3x3_reduce."),
        (".branch3.0.bn.", "_double_3x3_reduce_bn."),
        (".branch3.1.conv.", "_double_3x3_1."),
        (".branch3.1.bn.", "_double_3x3_1_bn."),
        (".branch3.2.conv.", "_double_3x3_2."),
        (".branch3.2.bn.", "_double_3x3_2_bn."),
        (".branch4.1.conv.", "_pool_proj."),
        (".branch4.1.bn.", "_pool_proj_bn."),
    ),
)

PYTORCHCV = Layout(
    "pytorchcv",
    prefixes=(
        ("features.conv", "features.init_block.conv"),
        ("features.inception3a.", "features.stage1.unit1.branches."),
        ("features.inception3b.", "features.stage1.unit2.branches."),
        ("features.inception3c.branch2.", "features.stage2.unit1.branches.branch1."),
        ("features.inception3c.branch3.", "features.stage2.unit1.branches.branch2."),
        ("features.inception4a.", "features.stage2.unit2.branches."),
        ("features.inception4b.", "features.stage2.unit3.branches."),
        ("features.inception4c.", "features.stage2.unit4.branches."),
        ("features.inception4d.", "features.stage2.unit5.branches."),
        ("features.inception4e.branch2.", "features.stage3.unit1.branches.branch1."),
        ("features.inception4e.branch3.", "features.stage3.unit1.branches.branch2."),
        ("features.inception5a.", "features.stage3.unit2.branches."),
        ("features.inception5b.", "features.stage3.unit3.branches."),
        ("head.fc.", "output."),
    ),
    inner=(
        (".branch4.1.", ".branch4.conv."),
        (".0.", ".conv1."),
        (".1.", ".conv2."),
        (".2.", ".conv3."),
    ),
)

ENTRIES = (
    Entry(
        name="bn_inception",
        network=bn_inception,
        paper=PAPER,
        about="Caffe's layout, as in Cadene's package and pytorchcv: biases besides batch normalisation, pools that round up",
        layouts=(CADENE, PYTORCHCV),
        weights={
            "cadene_in1k": Published(
                url="http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth",
                digest="sha256:52deb4733",
                license="bsd-3-clause",
                layout="cadene",
                data=DataConfig(mean=(128 / 255, 117 / 255, 104 / 255), std=(1.0, 1.0, 1.0)),
                top1=73.524,
                bgr=True,
                scale=255.0,
            ),
            "pcv_in1k": Published(
                url="https://github.com/osmr/imgclsmob/releases/download/v0.0.405/bninception-0774-d79ba5f5.pth.zip",
                member="bninception-0774-d79ba5f5.pth",
                digest="sha1:d79ba5f573ba2da5fea5e4c9a7f67ddd526e234b",
                license="mit",
                layout="pytorchcv",
                data=DataConfig(),
                top1=74.6,
            ),
        },
    ),
    Entry(
        name="inception_v2",
        network=inception_v2,
        paper=PAPER,
        about="TF-slim's layout: a separable first convolution, TensorFlow's padding, 576 and 1024 channels after 4d and 4e",
        data=DataConfig(mean=HALF, std=HALF),
    ),
)
