"""S3D: Xie et al., "Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification", ECCV 2018.

arXiv:1712.04851. It is I3D with each cube of a kernel as a square and a line (Figure 4): the rows are those of
`googlenet.table1`.
"""

from __future__ import annotations

from ..spec import Conv, DataConfig, Entry, Layer, Layout, Network, Pool, Published, Size, chain, map_leaves
from .googlenet import table1
from .i3d import video_network

PAPER = (
    "Xie et al., Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification, ECCV 2018, "
    "arXiv:1712.04851"
)


def separable(out: int, kernel: int, stride: int = 1) -> Layer:
    """Return a separable convolution (Figure 4): 1 x kernel x kernel, then kernel x 1 x 1, each with the style's steps."""
    return chain(Conv(out, (1, kernel, kernel), (1, stride, stride)), Conv(out, (kernel, 1, 1), (stride, 1, 1)))


def s3d(*, window: Size | None = (2, 7, 7)) -> Network:
    """Return S3D (Figure 5) with torchvision's paddings: (c, t, h, w) -> (1024, t', h', w').

    `window` is that of the average pool of stride 1 before the head, in frames and pixels. None leaves the pool out, for clips
    whose last map is smaller: of fewer than 13 frames, or 209 px.
    """
    square = Pool("max", (1, 3, 3), (1, 2, 2))
    stem: dict[str, Layer] = dict(conv1=Conv(64, 7, 2), pool1=square, conv2=chain(Conv(64), Conv(192, 3)), pool2=square)
    rows = table1(five=3, pool3=Pool("max", 3, 2), pool4=Pool("max", 2, 2, "valid"))
    stages = {name: map_leaves(layer, _separate) for name, layer in {**stem, **rows}.items()}
    return video_network(stages, window, drop_rate=0.2)


def _separate(leaf: Layer) -> Layer:
    match leaf:
        case Conv(out=out, kernel=int(kernel), stride=int(stride)) if kernel > 1:
            return separable(out, kernel, stride)
        case _:
            return leaf


TORCHVISION = Layout(
    "torchvision",
    prefixes=(
        ("features.conv1.", "features.0."),
        ("features.conv2.0.", "features.2."),
        ("features.conv2.1.", "features.3."),
        *((f"features.inception3{row}.", f"features.{number}.") for number, row in enumerate("ab", 5)),
        *((f"features.inception4{row}.", f"features.{number}.") for number, row in enumerate("abcde", 8)),
        *((f"features.inception5{row}.", f"features.{number}.") for number, row in enumerate("ab", 14)),
        ("head.fc.", "classifier.1."),
    ),
    inner=(
        *((f".branch{number}.", f".branch{number - 1}.") for number in (1, 2, 3, 4)),
        (".conv.", ".0."),
        (".bn.", ".1."),
    ),
    shapes=(("head.fc.weight", (-1, 1024, 1, 1, 1)),),
)
CLIPS = DataConfig(input_size=(3, 128, 224, 224), mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))

ENTRIES = (
    Entry(
        name="s3d",
        network=s3d,
        paper=PAPER,
        about="I3D with a square and a line for each cube; torchvision's layout",
        num_classes=400,
        data=CLIPS,
        layouts=(TORCHVISION,),
        weights={
            "tv_kinetics400": Published(
                url="https://download.pytorch.org/models/s3d-d76dad2f.pth",
                digest="sha256:d76dad2f",
                license="bsd-3-clause",
                layout="torchvision",
                data=CLIPS,
                num_classes=400,
                note="68.368 on Kinetics-400",
            )
        },
    ),
)
