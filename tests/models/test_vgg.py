"""VGG beside its paper's Table 1, torchvision, timm and pytorch-cifar's networks."""

import pytest
import timm
import torch
import torchvision
from helpers import distance, fill, noise, one_thread, outputs, quick, shape_text
from torch import nn
from torch.nn import functional as F

import inceptionzoo as iz
from inceptionzoo.spec._network_cost import stage_costs

# Table 1, a column a line: widths of the 3x3 convolutions, "1x1" one of 1x1 as wide as the last, M a max pool
COLUMNS = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg11_lrn": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16_1x1": "64 64 M 128 128 M 256 256 1x1 M 512 512 1x1 M 512 512 1x1 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
PLAIN = ("vgg11", "vgg13", "vgg16", "vgg19")
EIGHT = (*PLAIN, *(f"{name}_bn" for name in PLAIN))
MILLIONS = {"vgg11": 133, "vgg11_lrn": 133, "vgg13": 133, "vgg16_1x1": 134, "vgg16": 138, "vgg19": 144}  # the paper's Table 2
TORCHVISION = {**dict.fromkeys(EIGHT, (64,)), "vgg11": (64, 224), "vgg11_bn": (64, 224), "vgg16": (64, 224)}
TIMM = ("vgg11", "vgg13_bn", "vgg16")
BLOCKS = (("224x224x64", 2), ("112x112x128", 2), ("56x56x256", 3), ("28x28x512", 3), ("14x14x512", 3))  # of D, at 224 px
POOLED = ("112x112x64", "56x56x128", "28x28x256", "14x14x512", "7x7x512")
D_AT_224 = {
    name: shape
    for block, ((inside, convs), after) in enumerate(zip(BLOCKS, POOLED, strict=True), 1)
    for name, shape in (*((f"conv{block}_{n}", inside) for n in range(1, convs + 1)), (f"pool{block}", after))
}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def run(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(x)


def widths(column: str) -> list[tuple[int, int, int, int]]:
    """Return (in, out, height, width) of each convolution."""
    rows, into = [], 3
    for word in column.replace("M ", "").removesuffix(" M").split():
        out = into if word == "1x1" else int(word)
        rows.append((into, out, *((1, 1) if word == "1x1" else (3, 3))))
        into = out
    return rows


@pytest.mark.parametrize("name", COLUMNS)
def test_parameters_are_the_papers(name):
    features = sum(into * out * tall * wide + out for into, out, tall, wide in widths(COLUMNS[name]))
    dense = sum(into * out + out for into, out in ((512 * 7 * 7, 4096), (4096, 4096), (4096, 1000)))
    info = iz.model_info(name)
    assert info.params == features + dense == count(iz.create_model(name, device="meta"))
    assert round(info.params / 1e6) == MILLIONS[name]
    assert count(iz.create_model(name, device="meta", head="pool")) == features + 512 * 1000 + 1000
    convs = [part for part in iz.create_model(name, device="meta").features.modules() if isinstance(part, nn.Conv2d)]
    kernels = [(conv.in_channels, conv.out_channels, *conv.kernel_size) for conv in convs]
    assert kernels == widths(COLUMNS[name])


@pytest.mark.parametrize("name", EIGHT)
def test_parameters_are_torchvisions(name):
    with torch.device("meta"):
        assert iz.model_info(name).params == count(getattr(torchvision.models, name)(init_weights=False))


def test_endpoints_of_d():
    model = iz.create_model("vgg16", head="pool", num_classes=2).eval()
    seen = outputs(dict(model.features.named_children()), lambda: model(noise(1, 3, 224, 224)))
    assert {name: shape_text(x) for name, x in seen.items()} == D_AT_224
    assert {name: str(row.shape) for name, _, row in stage_costs(model.network, iz.Shape(3, 224, 224))} == D_AT_224


@pytest.fixture(scope="module")
def dense():
    """The dense layers of VGG, which take longest to draw, for every torchvision model in turn."""
    with torch.device("meta"):
        return fill(torchvision.models.vgg11(init_weights=False).classifier)


@one_thread()
@pytest.mark.parametrize("name", TORCHVISION)
def test_equals_torchvision(name, dense):
    with torch.device("meta"):
        reference = getattr(torchvision.models, name)(init_weights=False)
    reference.classifier = dense
    fill(reference.features, noise(4, 3, 64, 64))
    model = iz.create_model(name, weights=reference.state_dict())
    assert model.report.layout == "torchvision"
    for side in TORCHVISION[name]:
        x = noise(2, 3, side, side, seed=side)
        expected = run(reference, x)
        assert distance(expected[:1], expected[1:]) > 1e-2
        assert run(model, x).equal(expected), side
    trained = [torch.manual_seed(7) and net.train()(noise(2, 3, 32, 32)) for net in (model, reference)]
    assert trained[0].equal(trained[1])  # dropout stands in the same places


@pytest.mark.parametrize("name", quick(TIMM, ("vgg11",)))
def test_equals_timm(name):
    with torch.device("meta"):
        reference = timm.create_model(name)
    state = fill(reference, noise(2, 3, 224, 224)).state_dict()
    dense, slid = iz.create_model(name, weights=state), iz.create_model(name, weights=state, head="conv")
    assert dense.report.layout == slid.report.layout == "timm"
    for side, same in ((224, True), (299, False)):
        x = noise(1, 3, side, side)
        expected = run(reference, x)
        assert distance(run(slid, x), expected) < 1e-6
        # dense: the same weights and map, 25,088 products added in another order; at 299 px a coarser map, so another result
        error = distance(run(dense, x), expected)
        assert error < 4e-6 if same else error > 1e-3
    assert dense.head.hidden.fc1.weight.equal(reference.pre_logits.fc1.weight.flatten(1))


class Cifar(nn.Module):
    """pytorch-cifar's VGG."""

    def __init__(self, column):
        super().__init__()
        layers, into = [], 3
        for word in column.split():
            if word == "M":
                layers += [nn.MaxPool2d(2, 2)]
            else:
                layers += [nn.Conv2d(into, int(word), 3, padding=1), nn.BatchNorm2d(int(word)), nn.ReLU(True)]
                into = int(word)
        self.features = nn.Sequential(*layers, nn.AvgPool2d(1, 1))
        self.classifier = nn.Linear(512, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@one_thread()
@pytest.mark.parametrize("name", PLAIN)
def test_equals_pytorch_cifar(name):
    reference = fill(Cifar(COLUMNS[name]), noise(16, 3, 32, 32))
    state, x = reference.state_dict(), noise(4, 3, 32, 32, seed=5)
    model = iz.create_model(f"{name}_bn_cifar", weights={"net": {f"module.{key}": value for key, value in state.items()}})
    assert model.report.layout == "pytorch-cifar"
    expected = run(reference, x)
    assert expected.std(0).min() > 1e-3
    assert run(model, x).equal(expected)


def test_pool_head_averages_then_classifies():
    model = fill(iz.create_model("vgg11", head="pool", num_classes=5))
    x = noise(2, 3, 70, 101)
    mean = model.forward_features(x).mean((2, 3))
    assert mean.shape == (2, 512)
    assert distance(run(model, x), F.linear(mean, model.head.fc.weight, model.head.fc.bias).detach()) < 1e-6
    with pytest.raises(iz.ArgumentError, match="head='dense' must be one of 'mlp', 'conv', 'pool'"):
        iz.create_model("vgg11", head="dense")


def by_hand(convs: list[nn.Conv2d], x: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return the last map of A-LRN: `alpha` stands before the sum over five neighbouring channels, as Krizhevsky has it."""
    x = F.relu(F.conv2d(x, convs[0].weight, convs[0].bias, padding=1))
    squares = F.pad(x.square(), (0, 0, 0, 0, 2, 2))
    total = sum(squares[:, first : first + 64] for first in range(5))
    x = F.max_pool2d(x / (2 + alpha * total) ** 0.75, 2)
    rest = iter(convs[1:])
    for block in (1, 2, 2, 2):
        for _ in range(block):
            conv = next(rest)
            x = F.relu(F.conv2d(x, conv.weight, conv.bias, padding=1))
        x = F.max_pool2d(x, 2)
    return x


def test_lrn_is_krizhevskys():
    model = fill(iz.create_model("vgg11_lrn", head="pool"))
    convs = [part for part in model.features.modules() if isinstance(part, nn.Conv2d)]
    x = 30 * noise(2, 3, 64, 64)  # so large that the sum tells beside k = 2
    with torch.no_grad():
        ours = model.forward_features(x)
        assert distance(ours, by_hand(convs, x, 1e-4)) < 1e-5
        assert distance(ours, by_hand(convs, x, 1.1e-4)) > 1e-3


@one_thread()
@torch.no_grad()
def test_average_pools_equal_torchvisions_network_with_average_pools():
    """The network of style transfer; the weights are those of the network with max pools."""
    theirs, layers = torchvision.models.vgg19().eval(), ["conv1_1", "conv4_2", "conv5_1", "pool5"]
    pooled = [nn.AvgPool2d(2, 2) if isinstance(part, nn.MaxPool2d) else part for part in theirs.features]
    model = iz.create_model("vgg19", pool="avg", weights=theirs.state_dict(), features_only=True, out_indices=layers).eval()
    x = noise(1, 3, 64, 64)
    expected = [nn.Sequential(*pooled[:end])(x) for end in (2, 23, 30, 37)]
    assert all(map(torch.equal, model(x), expected))
    with pytest.raises(iz.ArgumentError, match="pool='min' must be one of 'max', 'avg'"):
        iz.create_model("vgg19", pool="min")
