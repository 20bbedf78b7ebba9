"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, arXiv:1409.4842."""

from __future__ import annotations

from functools import partial
from typing import Literal

from ..errors import check_choice, check_int
from ..spec import (
    CIFAR,
    Aux,
    Concat,
    Conv,
    DataConfig,
    Entry,
    Head,
    Layer,
    Layout,
    Network,
    Norm,
    Pool,
    Published,
    Style,
    chain,
    concat,
    network,
)

PAPER = "Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv:1409.4842"
Five = Literal[5, 3] | tuple[Literal[3], Literal[3]]
HALF = (0.5, 0.5, 0.5)


def inception(n1: int, r3: int, n3: int, r5: int, n5: int, proj: int, *, five: Five = 5) -> Concat:
    """Return one row of Table 1 as a block (Figure 2b): (c, h, w) -> (n1 + n3 + n5 + proj, h, w).

    `n1`, `r3`, `n3`, `r5`, `n5`, `proj` are the columns #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5 and pool proj. `five` is
    the kernel of the third branch: 5, the paper's; 3, torchvision's; or (3, 3), two 3x3 convolutions in a row.

    Raises:
        ArgumentError: `five` is none of these, or a width is not an int of at least 1.
    """
    check_choice("five", five, (5, 3, (3, 3)))
    for name, width in dict(n1=n1, r3=r3, n3=n3, r5=r5, n5=n5, proj=proj).items():
        check_int(name, width, 1)
    kernels = five if isinstance(five, tuple) else (five,)
    return concat(
        branch1=Conv(n1),
        branch2=chain(Conv(r3), Conv(n3, 3)),
        branch3=chain(Conv(r5), *(Conv(n5, kernel) for kernel in kernels)),
        branch4=chain(Pool("max", 3), Conv(proj)),
    )


def table1(*, five: Five, pool3: Pool, pool4: Pool) -> dict[str, Layer]:
    """Return rows 3a to 5b of Table 1 with the pools between them: (192, 28, 28) -> (1024, 7, 7)."""
    row = partial(inception, five=five)
    # fmt: off
    return dict(
        #               #1x1 #3x3r #3x3 #5x5r #5x5 pool
        inception3a=row(  64,   96, 128,  16,  32,  32),
        inception3b=row( 128,  128, 192,  32,  96,  64),
        pool3=pool3,
        inception4a=row( 192,   96, 208,  16,  48,  64),
        inception4b=row( 160,  112, 224,  24,  64,  64),
        inception4c=row( 128,  128, 256,  24,  64,  64),
        inception4d=row( 112,  144, 288,  32,  64,  64),
        inception4e=row( 256,  160, 320,  32, 128, 128),
        pool4=pool4,
        inception5a=row( 256,  160, 320,  32, 128, 128),
        inception5b=row( 384,  192, 384,  48, 128, 128),
    )
    # fmt: on


def googlenet(
    *,
    five: Five = 3,
    pools: Literal["ceil", "valid"] = "ceil",
    pool4: Literal[3, 2] = 2,
    norm: Literal["batch", "lrn"] = "batch",
    aux_pool: Literal["adaptive", "5x5"] = "adaptive",
) -> Network:
    """Return GoogLeNet (Table 1). The defaults are torchvision's.

    Args:
        five: the kernel of the third branch of each block, as in `inception`.
        pools: "ceil", the paper's: pools of stride 2 round up (56, 28, 14, 7 px); "valid": they round down (55, 27, 13, 6 px).
        pool4: kernel of the last pool of stride 2; the paper has 3.
        norm: "batch": batch normalisation after each convolution; "lrn", the paper's: biases and two local response
            normalisations instead.
        aux_pool: the pool of the auxiliary heads: "adaptive", to 4x4, or "5x5", the paper's, with stride 3.

    Raises:
        ArgumentError: an argument has none of these values.
    """
    check_choice("pools", pools, ("ceil", "valid"))
    check_choice("pool4", pool4, (3, 2))
    check_choice("norm", norm, ("batch", "lrn"))
    check_choice("aux_pool", aux_pool, ("adaptive", "5x5"))
    down = Pool("max", 3, 2, "valid", ceil=pools == "ceil")
    stem: dict[str, Layer] = dict(
        conv1=Conv(64, 7, 2),
        pool1=down,
        norm1=Norm("lrn"),
        conv2=chain(Conv(64), Conv(192, 3)),
        norm2=Norm("lrn"),
        pool2=down,
    )
    if norm == "batch":
        del stem["norm1"], stem["norm2"]
    last = Pool("max", pool4, 2, "valid", ceil=pools == "ceil")
    average: Pool = Pool("avg", 5, 3, "valid") if aux_pool == "5x5" else Pool("adaptive_avg", 4)
    side = Head("mlp", hidden=(1024,), size=4, drop_rate=0.7)
    return network(
        stem,
        table1(five=five, pool3=down, pool4=last),
        head=Head(drop_rate=0.2 if norm == "batch" else 0.4),
        style=Style() if norm == "batch" else Style(norm=None, bias=True),
        aux=tuple(Aux(tap, chain(average, Conv(128)), side) for tap in ("inception4a", "inception4d")),
    )


def googlenet_cifar(*, five: Five = (3, 3)) -> Network:
    """Return GoogLeNet for small images (pytorch-cifar's): a stem of one 3x3 convolution, and two pools of stride 2."""
    down = Pool("max", 3, 2)
    return network(
        dict(conv1=Conv(192, 3)),
        table1(five=five, pool3=down, pool4=down),
        style=Style(eps=1e-5, bias=True),
    )


TORCHVISION = Layout(
    "torchvision",
    prefixes=(
        ("features.conv2.0.", "conv2."),
        ("features.conv2.1.", "conv3."),
        ("features.", ""),
        ("head.fc.", "fc."),
        ("aux.inception4a.layers.1.", "aux1.conv."),
        ("aux.inception4a.head.hidden.fc1.", "aux1.fc1."),
        ("aux.inception4a.head.fc.", "aux1.fc2."),
        ("aux.inception4d.layers.1.", "aux2.conv."),
        ("aux.inception4d.head.hidden.fc1.", "aux2.fc1."),
        ("aux.inception4d.head.fc.", "aux2.fc2."),
    ),
)

PYTORCH_CIFAR = Layout(
    "pytorch-cifar",
    prefixes=(
        ("features.conv1.conv.", "pre_layers.0."),
        ("features.conv1.bn.", "pre_layers.1."),
        *((f"features.inception{row}.", f"{row[::-1]}.") for row in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")),
        ("head.fc.", "linear."),
    ),
    inner=(
        (".branch1.conv.", ".b1.0."),
        (".branch1.bn.", ".b1.1."),
        (".branch2.0.conv.", ".b2.0."),
        (".branch2.0.bn.", ".b2.1."),
        (".branch2.1.conv.", ".b2.3."),
        (".branch2.1.bn.", ".b2.4."),
        (".branch3.0.conv.", ".b3.0."),
        (".branch3.0.bn.", ".b3.1."),
        (".branch3.1.conv.", ".b3.3."),
        (".branch3.1.bn.", ".b3.4."),
        (".branch3.2.conv.", ".b3.6."),
        (".branch3.2.bn.", ".b3.7."),
        (".branch4.1.conv.", ".b4.1."),
        (".branch4.1.bn.", ".b4.2."),
    ),
)

ENTRIES = (
    Entry(
        name="googlenet",
        network=googlenet,
        paper=PAPER,
        about="torchvision's layout: batch normalisation, 3x3 where the paper has 5x5, a last pool of 2x2",
        data=DataConfig(mean=HALF, std=HALF),
        layouts=(TORCHVISION,),
        weights={
            "tv_in1k": Published(  # torchvision applies this mean and std inside the model (`transform_input`)
                url="https://download.pytorch.org/models/googlenet-1378be20.pth",
                digest="sha256:1378be20",
                license="bsd-3-clause",
                layout="torchvision",
                data=DataConfig(mean=HALF, std=HALF),
                top1=69.778,
            )
        },
    ),
    Entry(
        name="googlenet_5x5",
        network=partial(googlenet, five=5),
        paper=PAPER,
        about="torchvision's layout, with the paper's 5x5 convolutions",
        data=DataConfig(mean=HALF, std=HALF),
        layouts=(TORCHVISION,),
    ),
    Entry(
        name="googlenet_paper",
        network=partial(googlenet, five=5, pool4=3, norm="lrn", aux_pool="5x5"),
        paper=PAPER,
        about="Table 1 of the paper as printed: biases, local response normalisation, no batch normalisation",
    ),
    Entry(
        name="googlenet_cifar",
        network=googlenet_cifar,
        paper=PAPER,
        about="pytorch-cifar's layout for small images: a stem of stride 1, two 3x3 for the 5x5, biases, batch normalisation",
        num_classes=10,
        data=CIFAR,
        layouts=(PYTORCH_CIFAR,),
    ),
)
