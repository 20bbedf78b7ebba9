"""VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv:1409.1556."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from ..errors import check_choice, check_flag
from ..spec import (
    CIFAR,
    Conv,
    DataConfig,
    Entry,
    Head,
    HeadKind,
    Layer,
    Layout,
    Network,
    Norm,
    Pool,
    Published,
    Recipe,
    Style,
    keras_layouts,
    keras_weights,
    network,
)

PAPER = "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, arXiv:1409.1556"

# Table 1: for each configuration, the widths of the 3x3 convolutions of its five blocks. "lrn" is local response
# normalisation, "1x1" a 1x1 convolution.
TABLE1: dict[str, tuple[tuple[int | str, ...], ...]] = {
    "A": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "A-LRN": ((64, "lrn"), (128,), (256, 256), (512, 512), (512, 512)),
    "B": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "C": ((64, 64), (128, 128), (256, 256, "1x1"), (512, 512, "1x1"), (512, 512, "1x1")),
    "D": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    "E": ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}
LRN = Norm("lrn", size=5, alpha=5e-4, beta=0.75, k=2.0)  # Krizhevsky's 1e-4 per channel; `Norm` divides alpha by `size`
HEADS = {
    "mlp": Head("mlp", hidden=(4096, 4096), size=7, drop_rate=0.5),
    "conv": Head("conv", hidden=(4096, 4096), size=7, drop_rate=0.5),
    "pool": Head("pool"),
}


def vgg(
    configuration: str, *, batch_norm: bool = False, head: HeadKind = "mlp", pool: Literal["max", "avg"] = "max"
) -> Network:
    """Return VGG for a column of Table 1: "A", "A-LRN", "B", "C", "D" or "E".

    `batch_norm` adds batch normalisation after each convolution. `head` is "mlp", the paper's dense layers on a map pooled to
    7x7; "conv", the same layers as convolutions over the map (timm's); or "pool", a global pool and one linear layer. `pool` is
    "max", the paper's, or "avg", which Gatys et al. (arXiv:1508.06576, section "Methods") found better for style transfer.

    Raises:
        ArgumentError: an argument has none of these values.
    """
    check_choice("configuration", configuration, TABLE1)
    check_choice("head", head, HEADS)
    check_choice("pool", pool, ("max", "avg"))
    check_flag("batch_norm", batch_norm)
    stages: dict[str, Layer] = {}
    for block, column in enumerate(TABLE1[configuration], 1):
        for number, width in enumerate(column, 1):
            if width == "lrn":
                stages[f"norm{block}"] = LRN
            elif width == "1x1":
                stages[f"conv{block}_{number}"] = Conv(int(column[0]))
            else:
                stages[f"conv{block}_{number}"] = Conv(int(width), 3)
        stages[f"pool{block}"] = Pool(pool, 2, 2, "valid")
    style = Style(norm="batch" if batch_norm else None, eps=1e-5, bias=True)
    return network(stages, head=HEADS[head], style=style)


def flat_features(net: Network) -> tuple[tuple[str, str], ...]:
    """Return the key prefixes (ours, theirs) of libraries that number all modules of the stages in one list."""
    prefixes, index = [], 0
    for name, layer in net.stages:
        if not isinstance(layer, Conv):
            index += 1
            continue
        prefixes.append((f"features.{name}.conv.", f"features.{index}."))
        if net.style.norm is not None:
            prefixes.append((f"features.{name}.bn.", f"features.{index + 1}."))
        index += 2 if net.style.norm is None else 3
    return tuple(prefixes)


def keras_name(path: str) -> str:
    """Return Keras's name of a convolution, "block1_conv2"; `path` is that of our module, "features.conv1_2"."""
    block, _, number = path.removeprefix("features.conv").partition("_")
    return f"block{block}_conv{number}"


def layouts(net: Network) -> tuple[Layout, ...]:
    """Return the layouts of torchvision, timm, and for a network of Keras's kind, Keras."""
    features = flat_features(net)
    dense = (
        ("head.hidden.fc1.", "classifier.0."),
        ("head.hidden.fc2.", "classifier.3."),
        ("head.fc.", "classifier.6."),
    )
    sliding = (("head.hidden.fc1.", "pre_logits.fc1."), ("head.hidden.fc2.", "pre_logits.fc2."))
    first, second = "head.hidden.fc1.weight", "head.hidden.fc2.weight"
    names = (("head.hidden.fc1", "fc1"), ("head.hidden.fc2", "fc2"), ("head.fc", "predictions"))
    has_norm = net.style.norm is not None or any(isinstance(layer, Norm) for _, layer in net.stages)
    keras = () if has_norm else keras_layouts(net, keras_name, dense=names, flattened=((first, (512, 7, 7)),))
    return (
        Layout("torchvision", (*features, *dense), shapes=((first, (-1, 512 * 7 * 7)), (second, (-1, 4096)))),
        Layout("timm", (*features, *sliding), shapes=((first, (-1, 512, 7, 7)), (second, (-1, 4096, 1, 1)))),
        *keras,
    )


TOP1 = {
    "vgg11": 69.050, "vgg13": 69.950, "vgg16": 71.594, "vgg19": 72.400,
    "vgg11_bn": 70.374, "vgg13_bn": 71.560, "vgg16_bn": 73.354, "vgg19_bn": 74.230,
}  # fmt: skip
FEATURES = Published(  # the convolutions with the paper's weights, for detectors; the classifier in the file is NaN
    url="https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth",
    digest="sha256:88682ab5",
    license="bsd-3-clause",
    layout="torchvision",
    data=DataConfig(mean=(0.48235, 0.45882, 0.40784), std=(1 / 255,) * 3),  # as torchvision rounds the mean of the paper
    num_classes=0,
    arguments={"head": "pool"},
    headless=True,
)
MD5 = {  # of Keras's files, with the classifier and without
    "vgg16": ("64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": ("cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
}
KERAS: dict[str, Any] = dict(  # the paper's weights from Caffe, for BGR images
    data=DataConfig(mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3, crop_pct=1.0, crop_mode="squash"),
    license="cc-by-4.0",
    top1=71.3,
    bgr=True,
    without_top={"arguments": {"head": "pool"}},
)


def imagenet(name: str, configuration: str, *, batch_norm: bool = False) -> Entry:
    """Return the registry entry of a configuration for ImageNet, at 224 px, as in the paper."""
    build = partial(vgg, configuration, batch_norm=batch_norm)
    return Entry(
        name=name,
        network=build,
        paper=PAPER,
        about=f"configuration {configuration} of the paper" + (" with batch normalisation" if batch_norm else ""),
        # the dense layers have no normalisation: at the usual rate of 0.025 the loss becomes NaN
        recipe=Recipe(lr=0.002 if batch_norm else 0.01, weight_decay=5e-4),
        layouts=layouts(build()),
        weights=published(name),
    )


def published(name: str) -> dict[str, Published]:
    """Return the published weights of torchvision and Keras for this name."""
    if name not in TOP1:
        return {}
    hub = f"hf-hub:timm/{name}.tv_in1k"
    weights = {"tv_in1k": Published(url=hub, license="bsd-3-clause", layout="timm", data=DataConfig(), top1=TOP1[name])}
    weights |= {"tv_features": FEATURES} if name == "vgg16" else {}
    return weights | (keras_weights(name, *MD5[name], **KERAS) if name in MD5 else {})


def cifar(name: str, configuration: str) -> Entry:
    """Return the registry entry of a configuration for 32 px (pytorch-cifar's): batch normalisation and one linear layer."""
    build = partial(vgg, configuration, batch_norm=True, head="pool")
    return Entry(
        name=name,
        network=build,
        paper=PAPER,
        about=f"pytorch-cifar's layout of configuration {configuration} for small images: batch normalisation, one dense layer",
        num_classes=10,
        data=CIFAR,
        layouts=(Layout("pytorch-cifar", (*flat_features(build()), ("head.fc.", "classifier."))),),
    )


DEPTHS = {"A": 11, "B": 13, "D": 16, "E": 19}
ENTRIES = (
    *(imagenet(f"vgg{depth}", column) for column, depth in DEPTHS.items()),
    *(imagenet(f"vgg{depth}_bn", column, batch_norm=True) for column, depth in DEPTHS.items()),
    imagenet("vgg11_lrn", "A-LRN"),
    imagenet("vgg16_1x1", "C"),
    *(cifar(f"vgg{depth}_bn_cifar", column) for column, depth in DEPTHS.items()),
)
