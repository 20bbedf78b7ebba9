"""Inception-ResNet: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ..errors import ArgumentError, check_choice, check_int, check_number
from ..spec import (
    Concat,
    Conv,
    DataConfig,
    Entry,
    Head,
    KerasLayout,
    Layer,
    Layout,
    Network,
    Pool,
    Published,
    Residual,
    chain,
    concat,
    keras_layouts,
    keras_weights,
    network,
)
from .inception_v4 import DOWN, HALF, PAPER, reduction_a
from .inception_v4 import stem as figure_3

Version = Literal["v1", "v2"]
Last = Literal["linear", "plain"]
Two = tuple[int, int]
Three = tuple[int, int, int]

MAX_REPEATS = 300  # for each of the three kinds of block; a network may have 1,000 stages

# Widths from the figures; each int or inner tuple is a branch. The 1x1 convolution after them has the width of the block's
# input.
# fmt: off
A: dict[str, tuple[int, Two, Three]] = {
    "v1": (32, (32, 32), (32, 32, 32)),                     # Figure 10
    "v2": (32, (32, 32), (32, 48, 64)),                     # Figure 16
}
B: dict[str, tuple[int, Three]] = {
    "v1": (128, (128, 128, 128)),                           # Figure 11
    "v2": (192, (128, 160, 192)),                           # Figure 17
}
C: dict[str, tuple[int, Three]] = {
    "v1": (192, (192, 192, 192)),                           # Figure 13
    "v2": (192, (192, 224, 256)),                           # Figure 19
}
REDUCTION_A: dict[str, tuple[int, int, int, int]] = {       # Figure 7 with Table 1
    #       k    l    m    n
    "v1": (192, 192, 256, 384),
    "v2": (256, 256, 384, 384),
}
REDUCTION_B: dict[str, tuple[Two, Two, Three]] = {
    "v1": ((256, 384), (256, 256), (256, 256, 256)),        # Figure 12
    "v2": ((256, 384), (256, 288), (256, 288, 320)),        # Figure 18
}
# fmt: on


def stem(version: Version) -> dict[str, Layer]:
    """Return the stem: (3, 299, 299) -> (256, 35, 35) for "v1" (Figure 14), (320, 35, 35) for "v2".

    The "v2" stem is that of the published weights: Inception v3's stem and a block. The paper's is `inception_v4.stem`.

    Raises:
        ArgumentError: `version` is neither.
    """
    check_choice("version", version, ("v1", "v2"))
    start: dict[str, Layer] = dict(
        Conv2d_1a_3x3=Conv(32, 3, 2, "valid"),
        Conv2d_2a_3x3=Conv(32, 3, padding="valid"),
        Conv2d_2b_3x3=Conv(64, 3),
        MaxPool_3a_3x3=DOWN,
        Conv2d_3b_1x1=Conv(80),
        Conv2d_4a_3x3=Conv(192, 3, padding="valid"),
    )
    if version == "v1":
        return start | dict(Conv2d_4b_3x3=Conv(256, 3, 2, "valid"))
    mixed = concat(
        branch0=Conv(96),
        branch1=chain(Conv(48), Conv(64, 5)),
        branch2=chain(Conv(64), Conv(96, 3), Conv(96, 3)),
        branch3=chain(Pool("avg", 3, include_pad=False), Conv(64)),
    )
    return start | dict(MaxPool_5a_3x3=DOWN, Mixed_5b=mixed)


def inception_resnet_a(n1: int, n3: Two, n33: Three, *, scale: float = 0.17) -> Residual:
    """Return the block of Figures 10 and 16, for the 35x35 grid: (c, h, w) -> (c, h, w).

    Each tuple has the widths of a branch. `scale` multiplies the output of the branches before it is added to the input.
    """
    body = concat(
        branch0=Conv(n1),
        branch1=chain(Conv(n3[0]), Conv(n3[1], 3)),
        branch2=chain(Conv(n33[0]), Conv(n33[1], 3), Conv(n33[2], 3)),
    )
    return Residual(body, scale=scale)


def inception_resnet_b(n1: int, n7: Three, *, scale: float = 0.10) -> Residual:
    """Return the block of Figures 11 and 17, for the 17x17 grid: (c, h, w) -> (c, h, w)."""
    body = concat(branch0=Conv(n1), branch1=chain(Conv(n7[0]), Conv(n7[1], (1, 7)), Conv(n7[2], (7, 1))))
    return Residual(body, scale=scale)


def inception_resnet_c(n1: int, n3: Three, *, scale: float = 0.20, act: bool = True) -> Residual:
    """Return the block of Figures 13 and 19, for the 8x8 grid: (c, h, w) -> (c, h, w). `act` is the ReLU after the sum."""
    body = concat(branch0=Conv(n1), branch1=chain(Conv(n3[0]), Conv(n3[1], (1, 3)), Conv(n3[2], (3, 1))))
    return Residual(body, scale=scale, act=act)


def reduction_b(first: Two, second: Two, third: Three) -> Concat:
    """Return the block of Figures 12 and 18: (c, h, w) -> (first[1] + second[1] + third[2] + c, (h - 1) // 2, (w - 1) // 2)."""
    return concat(
        branch0=chain(Conv(first[0]), Conv(first[1], 3, 2, "valid")),
        branch1=chain(Conv(second[0]), Conv(second[1], 3, 2, "valid")),
        branch2=chain(Conv(third[0]), Conv(third[1], 3), Conv(third[2], 3, 2, "valid")),
        branch3=DOWN,
    )


def blocks(version: Version, repeats: Three, scales: tuple[float, float, float], last: Last) -> dict[str, Layer]:
    """Return the stages of Figure 15 between the stem and the average pool.

    `repeats` and `scales` are the number and the scale of the blocks A, B and C.

    Raises:
        ArgumentError: an argument is outside its range.
    """
    check_choice("version", version, A)
    check_choice("last", last, ("linear", "plain"))
    for name, values in (("repeats", repeats), ("scales", scales)):
        if not isinstance(values, tuple | list) or len(values) != 3:
            raise ArgumentError(f"{name}={values!r} must be three numbers, for the blocks A, B and C")
    for count, scale in zip(repeats, scales, strict=True):
        check_int("repeats", count, 1, MAX_REPEATS)
        check_number("scales", scale)
    (on35, on17, on8), (a, b, c) = repeats, scales
    end = inception_resnet_c(*C[version], scale=1.0, act=False) if last == "linear" else None
    return {
        **{f"block35_{index}": inception_resnet_a(*A[version], scale=a) for index in range(1, on35 + 1)},
        "Mixed_6a": reduction_a(*REDUCTION_A[version]),
        **{f"block17_{index}": inception_resnet_b(*B[version], scale=b) for index in range(1, on17 + 1)},
        "Mixed_7a": reduction_b(*REDUCTION_B[version]),
        **{f"block8_{index}": inception_resnet_c(*C[version], scale=c) for index in range(1, on8 + 1)},
        **({f"block8_{on8}": end} if end else {}),
    }


def inception_resnet_v1(
    *,
    repeats: Three = (5, 10, 6),
    scales: tuple[float, float, float] = (0.17, 0.10, 0.20),
    last: Last = "linear",
    bottleneck: int | None = 512,
) -> Network:
    """Return Inception-ResNet-v1. The defaults are FaceNet's, whose weights are published.

    Args:
        repeats: number of blocks A, B and C; the paper has (5, 10, 5).
        scales: the scales of the blocks A, B and C; the paper recommends 0.1 to 0.3.
        last: "linear" gives the last block C a scale of 1 and no ReLU; "plain", the paper's, makes it like the others.
        bottleneck: width of FaceNet's embedding, a linear layer with batch normalisation before the classifier; None, the
            paper's, leaves it out. The embedding is not normalised; `torch.nn.functional.normalize` gives facenet-pytorch's.

    Raises:
        ArgumentError: an argument is outside its range.
    """
    if bottleneck is not None:
        check_int("bottleneck", bottleneck, 1)
    head = Head(drop_rate=0.2) if bottleneck is None else Head("embed", hidden=(bottleneck,), drop_rate=0.2)
    return network(stem("v1"), blocks("v1", repeats, scales, last), head=head)


def inception_resnet_v2(
    *,
    repeats: Three = (10, 20, 10),
    scales: tuple[float, float, float] = (0.17, 0.10, 0.20),
    last: Last = "linear",
    start: Literal["slim", "figure3"] = "slim",
    final: int | None = 1536,
) -> Network:
    """Return Inception-ResNet-v2. The defaults are TF-slim's, whose weights are published.

    Args:
        repeats: number of blocks A, B and C; the paper has (5, 10, 5).
        scales: the scales of the blocks A, B and C; the paper recommends 0.1 to 0.3.
        last: "linear" gives the last block C a scale of 1 and no ReLU; "plain", the paper's, makes it like the others.
        start: the stem: "slim", that of the published weights, or "figure3", the paper's.
        final: width of a 1x1 convolution after the last block; None, the paper's, leaves it out.

    Raises:
        ArgumentError: an argument is outside its range.
    """
    if final is not None:
        check_int("final", final, 1)
    end: dict[str, Layer] = {} if final is None else dict(Conv2d_7b_1x1=Conv(final))
    check_choice("start", start, ("slim", "figure3"))
    return network(
        stem("v2") if start == "slim" else figure_3(), blocks("v2", repeats, scales, last), end, head=Head(drop_rate=0.2)
    )


def residual(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    """Return the key prefixes (ours, theirs) of a block in timm and facenet-pytorch."""
    return ((f"features.{ours}.body.", f"{theirs}."), (f"features.{ours}.project.conv.", f"{theirs}.conv2d."))


def units(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    """Return the key prefixes (ours, theirs) of a block in pytorchcv."""
    return ((f"features.{ours}.body.", f"{theirs}.branches."), (f"features.{ours}.project.conv.", f"{theirs}.conv."))


STEM = (  # key prefixes (ours, theirs) of the stem in timm and facenet-pytorch
    ("features.Conv2d_1a_3x3.", "conv2d_1a."),
    ("features.Conv2d_2a_3x3.", "conv2d_2a."),
    ("features.Conv2d_2b_3x3.", "conv2d_2b."),
    ("features.Conv2d_3b_1x1.", "conv2d_3b."),
    ("features.Conv2d_4a_3x3.", "conv2d_4a."),
)

TIMM = Layout(
    "timm",
    prefixes=(
        *STEM,
        ("features.Mixed_5b.", "mixed_5b."),
        *(pair for index in range(10) for pair in residual(f"block35_{index + 1}", f"repeat.{index}")),
        ("features.Mixed_6a.", "mixed_6a."),
        *(pair for index in range(20) for pair in residual(f"block17_{index + 1}", f"repeat_1.{index}")),
        ("features.Mixed_7a.", "mixed_7a."),
        *(pair for index in range(9) for pair in residual(f"block8_{index + 1}", f"repeat_2.{index}")),
        *residual("block8_10", "block8"),
        ("features.Conv2d_7b_1x1.", "conv2d_7b."),
        ("head.fc.", "classif."),
    ),
)

CADENE = replace(TIMM, name="cadene", prefixes=(("head.fc.", "last_linear."), *TIMM.prefixes))

FACES = DataConfig(input_size=(3, 160, 160), mean=(0.5, 0.5, 0.5), std=(128 / 255,) * 3, crop_pct=1.0)  # (x - 127.5) / 128
FACENET = Layout(
    "facenet-pytorch",
    data=FACES,
    prefixes=(
        *STEM,
        ("features.Conv2d_4b_3x3.", "conv2d_4b."),
        *(pair for index in range(5) for pair in residual(f"block35_{index + 1}", f"repeat_1.{index}")),
        ("features.Mixed_6a.", "mixed_6a."),
        *(pair for index in range(10) for pair in residual(f"block17_{index + 1}", f"repeat_2.{index}")),
        ("features.Mixed_7a.", "mixed_7a."),
        *(pair for index in range(5) for pair in residual(f"block8_{index + 1}", f"repeat_3.{index}")),
        *residual("block8_6", "block8"),
        ("head.hidden.fc1.", "last_linear."),
        ("head.hidden.bn1.", "last_bn."),
        ("head.fc.", "logits."),
    ),
)

PYTORCHCV = Layout(
    "pytorchcv",
    prefixes=(
        ("features.Conv2d_1a_3x3.", "features.init_block.conv1."),
        ("features.Conv2d_2a_3x3.", "features.init_block.conv2."),
        ("features.Conv2d_2b_3x3.", "features.init_block.conv3."),
        ("features.Conv2d_3b_1x1.", "features.init_block.conv4."),
        ("features.Conv2d_4a_3x3.", "features.init_block.conv5."),
        ("features.Conv2d_4b_3x3.", "features.init_block.conv6."),
        *(pair for index in range(1, 6) for pair in units(f"block35_{index}", f"features.stage1.unit{index}")),
        ("features.Mixed_6a.branch0.", "features.stage2.unit1.branches.branch1.conv_list.conv1."),
        ("features.Mixed_6a.", "features.stage2.unit1.branches."),
        *(pair for index in range(1, 11) for pair in units(f"block17_{index}", f"features.stage2.unit{index + 1}")),
        ("features.Mixed_7a.", "features.stage3.unit1.branches."),
        *(pair for index in range(1, 7) for pair in units(f"block8_{index}", f"features.stage3.unit{index + 1}")),
        ("head.hidden.fc1.", "output.fc1."),
        ("head.hidden.bn1.", "output.bn."),
        ("head.fc.", "output.fc2."),
    ),
    inner=(  # pytorchcv counts branches from 1; the highest comes first, so that none is renamed twice
        (".branches.branch2.0.", ".branches.branch3.conv_list.conv1."),
        (".branches.branch2.1.", ".branches.branch3.conv_list.conv2."),
        (".branches.branch2.2.", ".branches.branch3.conv_list.conv3."),
        (".branches.branch1.0.", ".branches.branch2.conv_list.conv1."),
        (".branches.branch1.1.", ".branches.branch2.conv_list.conv2."),
        (".branches.branch1.2.", ".branches.branch2.conv_list.conv3."),
        (".branches.branch0.0.", ".branches.branch1.conv_list.conv1."),
        (".branches.branch0.1.", ".branches.branch1.conv_list.conv2."),
        (".branches.branch0.conv.", ".branches.branch1.conv.conv."),
        (".branches.branch0.bn.", ".branches.branch1.conv.bn."),
    ),
)


def keras_name(path: str) -> str:
    """Return Keras's name of a layer of Inception-ResNet-v2, "block35_1_conv"; "" for one that Keras numbers."""
    stage = path.split(".")[1]
    if path.startswith("features.Conv2d_7b_1x1"):
        return "conv_7b_bn" if path.endswith(".bn") else "conv_7b"
    return f"{stage}_conv" if path.endswith(".project") else ""


FACENET_STEPS = {  # TF-slim's names of the convolutions in a block, by branch
    "Block35": (("1x1",), ("0a_1x1", "0b_3x3"), ("0a_1x1", "0b_3x3", "0c_3x3")),
    "Block17": (("1x1",), ("0a_1x1", "0b_1x7", "0c_7x1")),
    "Block8": (("1x1",), ("0a_1x1", "0b_1x3", "0c_3x1")),
    "Mixed_6a": (("1a_3x3",), ("0a_1x1", "0b_3x3", "1a_3x3")),
    "Mixed_7a": (("0a_1x1", "1a_3x3"), ("0a_1x1", "1a_3x3"), ("0a_1x1", "0b_3x3", "1a_3x3")),
}


def keras_facenet_name(path: str) -> str:
    """Return the name of a layer in the Keras files of FaceNet, "Block35_1_Branch_0_Conv2d_1x1"."""
    _, stage, *steps = path.removesuffix(".bn").split(".")
    words = [stage.replace("block", "Block")]
    if steps == ["project"]:
        words += ["Conv2d_1x1"]
    elif steps:
        branch = next(int(step.removeprefix("branch")) for step in steps if step.startswith("branch"))
        names = FACENET_STEPS[words[0] if stage.startswith("Mixed") else words[0].partition("_")[0]][branch]
        words += [f"Branch_{branch}", f"Conv2d_{names[int(steps[-1]) if steps[-1].isdigit() else 0]}"]
    return "_".join([*words, "BatchNorm"] if path.endswith(".bn") else words)


FACENET_KERAS = KerasLayout(
    name="keras",
    network=inception_resnet_v1(),
    names=keras_facenet_name,
    dense=(("head.hidden.fc1", "Bottleneck"), ("head.hidden.bn1", "Bottleneck_BatchNorm")),
    scale=False,
    data=FACES,
)
KERAS_LAYOUTS = keras_layouts(inception_resnet_v2(), keras_name, dense=(("head.fc", "predictions"),), scale=False)

WIDE = DataConfig(input_size=(3, 299, 299), mean=HALF, std=HALF, interpolation="bicubic", crop_pct=0.8975)
SQUASHED = replace(WIDE, interpolation="bilinear", crop_pct=1.0, crop_mode="squash")


def facenet(file: str, people: int, note: str) -> Published:
    """Return facenet-pytorch's published weights in `file`, which classify `people` identities."""
    url = f"https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/{file}"
    return Published(url=url, license="mit", layout="facenet-pytorch", data=FACES, num_classes=people, note=note)


ENTRIES = (
    Entry(
        name="inception_resnet_v1",
        network=inception_resnet_v1,
        paper=PAPER,
        about="FaceNet's layout: a sixth block C without activation, and an embedding of 512 values before the classifier",
        data=DataConfig(input_size=(3, 299, 299)),
        layouts=(PYTORCHCV, FACENET, FACENET_KERAS),
        weights={
            "pcv_in1k": Published(
                url="https://github.com/osmr/imgclsmob/releases/download/v0.0.552/inceptionresnetv1-0480-f8b3e9e3.pth.zip",
                member="inceptionresnetv1-0480-f8b3e9e3.pth",
                digest="sha1:f8b3e9e369ff38e28b4ae4def273ef78741e2e28",
                license="mit",
                layout="pytorchcv",
                data=DataConfig(input_size=(3, 299, 299)),
                top1=80.4,
            ),
            "vggface2": facenet("20180402-114759-vggface2.pt", 8631, "LFW 0.9965"),
            "casia_webface": facenet("20180408-102900-casia-webface.pt", 10575, "LFW 0.9905"),
        },
    ),
    Entry(
        name="inception_resnet_v2",
        network=inception_resnet_v2,
        paper=PAPER,
        about="the layout of the published weights (timm's): Inception-v3's stem, 10 + 20 + 10 blocks, a last 1x1 convolution",
        data=WIDE,
        layouts=(TIMM, CADENE, *KERAS_LAYOUTS),
        weights={
            tag: Published(
                url=f"hf-hub:timm/inception_resnet_v2.{tag}", license="apache-2.0", layout="timm", data=WIDE, top1=top1
            )
            for tag, top1 in (("tf_in1k", 80.434), ("tf_ens_adv_in1k", 79.998))
        }
        | keras_weights(
            "inception_resnet_v2",
            "e693bd0210a403b3192acc6073ad2e96",
            "d19885ff4a710c122648d3b5c3b684e4",
            data=SQUASHED,
            license="apache-2.0",
            top1=80.3,
        ),
    ),
)
