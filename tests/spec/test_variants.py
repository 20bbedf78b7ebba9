"""Variants of every network: padding, dilation, activation, normalisation, stochastic depth."""

import pytest
import torch
from helpers import noise
from torch import nn
from torch.nn import functional as F

import inceptionzoo as iz
from inceptionzoo.spec import apply_variants
from inceptionzoo.zoo._registry import REGISTRY

NAMES = ("googlenet", "googlenet_paper", "googlenet_cifar", "vgg11", "vgg13_bn", "vgg11_bn_cifar")
VALID = ("inception_v3", "inception_v4", "inception_resnet_v1", "xception")  # unpadded layers make the maps a little smaller
NAMES += ("bn_inception", "inception_v2", *VALID)
RESIDUAL = iz.network(stem=iz.Conv(8, 3, 2), **{f"block{i}": iz.Residual(iz.Conv(4), scale=0.5) for i in range(5)})


def make(name: str, **arguments: object) -> iz.Net:
    torch.manual_seed(0)
    head = {"head": "pool"} if name in ("vgg11", "vgg13_bn") else {}
    return iz.create_model(name, num_classes=3, **head, **arguments)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limit", [8, 16])
def test_output_stride(name, limit):
    padding = {"padding": "same"} if name in VALID else {}
    plain, dilated = make(name, **padding), make(name, output_stride=limit, **padding)
    assert [key for key, _ in plain.named_parameters()] == [key for key, _ in dilated.named_parameters()]
    dilated.load_state_dict(plain.state_dict())
    own = [info["reduction"] for info in plain.feature_info]
    assert [info["reduction"] for info in dilated.feature_info] == [min(reduction, limit) for reduction in own]
    assert [info["module"] for info in dilated.feature_info] == [info["module"] for info in plain.feature_info]
    x = noise(1, 3, 96, 128)
    maps = dilated.eval().forward_intermediates(x, intermediates_only=True)
    assert [tuple(tap.shape[2:]) for tap in maps] == [(96 // r, 128 // r) for r in (min(r, limit) for r in own)]
    if own[-1] <= limit:
        assert dilated(x).equal(plain.eval()(x))
    x.requires_grad_()
    dilated(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_dilated_kernels_see_the_same_inputs():
    """The dilated map, sampled with the removed stride, equals the strided map."""
    down = iz.Pool("max", 3, 2)
    last = iz.chain(iz.Pool("max", 3), iz.Conv(6, (1, 3)), iz.Pool("max", 3, padding="same", dilation=2))
    network = iz.network(a=iz.Conv(4, 3), down=down, b=iz.Conv(5, 3, dilation=(2, 3)), c=down, d=last)
    iz.register_model("dilatable", network, num_classes=2, input_size=(3, 32, 32))
    try:
        strided = iz.create_model("dilatable").eval()
        for limit in (1, 2):
            dense = iz.create_model("dilatable", output_stride=limit).eval()
            dense.load_state_dict(strided.state_dict())
            x, step = noise(1, 3, 32, 32), 4 // limit
            torch.testing.assert_close(dense.forward_features(x)[..., ::step, ::step], strided.forward_features(x))
    finally:
        del REGISTRY["dilatable"]


@pytest.mark.parametrize("down", [iz.Conv(5, 3, 2), iz.Pool("max", 3, 2), iz.Pool("max", 3, 2, ceil=True)], ids=str)
def test_a_dimension_that_keeps_its_stride_is_computed_as_before(down):
    """As time in S3D, which is reduced less than height and width."""
    network = iz.network(a=iz.Conv(4, 3, (1, 2)), down=down, b=iz.Conv(6, 3))
    strided, dense = (iz.build(net).eval() for net in (network, apply_variants(network, output_stride=2)))
    dense.load_state_dict(strided.state_dict())
    assert [info["reduction"] for info in dense.feature_info] == [2, 2]
    x = noise(1, 3, 32, 29)
    torch.testing.assert_close(dense.forward_features(x)[..., ::2], strided.forward_features(x))


def test_a_larger_output_stride_changes_nothing():
    """The model is still that of other libraries, and a network's own dilation stays."""
    assert make("googlenet", output_stride=32).network == make("googlenet").network
    network = iz.network(a=iz.Conv(4, 3, (2, 2), dilation=(2, 2)), b=iz.Pool("max", 3, padding="same", dilation=2))
    assert apply_variants(network, output_stride=2) == network
    dense = dict(apply_variants(network, output_stride=1).stages)
    assert [(layer.stride, layer.dilation) for layer in dense.values()] == [(1, (2, 2)), (1, 4)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(96, 64), (97, 63), (101, 67)])
def test_padding_same_gives_sizes_rounded_up(name, size):
    model = make(name, padding="same").eval()
    maps = model.forward_intermediates(noise(1, 3, *size), intermediates_only=True)
    wanted = [tuple(-(-side // info["reduction"]) for side in size) for info in model.feature_info]
    assert [tuple(tap.shape[2:]) for tap in maps] == wanted
    assert model.min_input_size == 1


@pytest.mark.parametrize("name", NAMES)
def test_padding_valid_removes_the_padding_of_strided_layers(name):
    if name == "xception":  # its shortcuts have a kernel of one pixel and its pools of three, so that sizes differ
        with pytest.raises(iz.ArgumentError, match="padding='valid' does not fit this network: residual: .* they must agree"):
            make(name, padding="valid")
        return
    model = make(name, padding="valid").eval()
    kinds = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
    strided = [part for part in model.features.modules() if isinstance(part, kinds) and part.stride not in (1, (1, 1))]
    assert strided
    assert {part.padding if isinstance(part.padding, int) else max(part.padding) for part in strided} == {0}
    assert not any(getattr(part, "ceil_mode", False) for part in strided)
    assert (model.network == make(name).network) == (name.startswith("vgg") or name in VALID)
    side = model.min_input_size
    assert model(noise(1, 3, side, side + 2)).shape == (1, 3)


@pytest.mark.parametrize("name", ["googlenet", "googlenet_paper", "bn_inception"])
def test_ceil_mode_by_padding_is_exact(name):
    plain, padded = make(name).eval(), make(name, ceil_mode="pad").eval()
    padded.load_state_dict(plain.state_dict())
    assert any(getattr(part, "ceil_mode", False) for part in plain.modules())
    assert not any(getattr(part, "ceil_mode", False) for part in padded.modules())
    assert padded.min_input_size == plain.min_input_size
    for side in range(plain.min_input_size, plain.min_input_size + 40):
        x = noise(1, 3, side, side + 5) - 3
        assert padded(x).equal(plain(x)), side


ACTS = {"silu": F.silu, "gelu": F.gelu, "leaky_relu": F.leaky_relu, nn.ELU: F.elu}
NORMS = {"groupnorm": 16, "layernorm2d": 1, "batchnorm2d": None, nn.InstanceNorm2d: None}  # groups of 64 channels


@pytest.mark.parametrize(("act", "function"), ACTS.items())
def test_activations(act, function):
    model, plain = make("googlenet", act_layer=act).eval(), make("googlenet").eval()
    x = noise(1, 3, 64, 64)
    before = plain.features.conv1.bn(plain.features.conv1.conv(x))
    assert model.features.conv1(x).equal(function(before))
    assert not [module for module in model.features.modules() if isinstance(module, nn.ReLU)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("norm", "groups"), NORMS.items())
def test_normalisation(name, norm, groups):
    model = make(name, norm_layer=norm).train()
    first = next(module for key, module in model.named_modules() if key.endswith(".bn") and type(module) is not nn.Identity)
    kind = nn.GroupNorm if groups else nn.BatchNorm2d if norm == "batchnorm2d" else norm
    assert type(first) is kind
    if groups:
        assert first.num_groups == (groups if groups == 1 else first.num_channels // 4 if first.num_channels < 128 else 16)
        assert not list(model.buffers())
        for side in (96, max(32, model.min_input_size)):  # one image in training, at any size
            assert model(noise(1, 3, side, side)).isfinite().all()


def test_named_variants_are_saved_and_classes_are_refused(tmp_path):
    model = make("googlenet", norm_layer="groupnorm", act_layer="silu", output_stride=16, padding="same").eval()
    iz.save_weights(model, tmp_path / "a.safetensors")
    again = iz.load_model(tmp_path / "a.safetensors")
    assert again.network == model.network
    assert again(noise(1, 3, 64, 64)).equal(model(noise(1, 3, 64, 64)))
    with pytest.raises(iz.ArgumentError, match="must be plain values to be saved"):
        iz.save_weights(make("googlenet", act_layer=nn.ELU), tmp_path / "b.safetensors")


def test_include_pad():
    network = iz.network(a=iz.Conv(4, 3), b=iz.Pool("avg", 3))
    iz.register_model("averaging", network, num_classes=2)
    try:
        for counted in (True, False):
            model = iz.create_model("averaging", include_pad=counted)
            ones = torch.ones(1, 4, 5, 5)
            assert (model.features.b(ones)[0, 0, 0, 0] == 1).item() is not counted
    finally:
        del REGISTRY["averaging"]


def test_stochastic_depth():
    iz.register_model("residual", RESIDUAL, num_classes=2)
    try:
        model = iz.create_model("residual", drop_path_rate=0.8)
        rates = [layer.drop_path for _, layer in model.network.stages if isinstance(layer, iz.Residual)]
        assert rates == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
        block, x = model.features.block4, noise(4000, 8, 1, 1).relu()
        torch.manual_seed(0)
        change = (block.train()(x) - x).abs().sum((1, 2, 3))
        whole = (block.eval()(x) - x).abs().sum((1, 2, 3))
        moved = whole > 1e-3
        assert ((change[moved] == 0).float().mean() - 0.8).abs() < 0.03
        plain = iz.create_model("residual")
        plain.load_state_dict(model.state_dict())
        y = noise(2, 3, 16, 16)
        assert model.eval()(y).equal(plain.eval()(y))
    finally:
        del REGISTRY["residual"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"drop_path_rate": 0.1}, "drop_path_rate=0.1 needs residual blocks, and this network has none; use drop_rate"),
        ({"drop_path_rate": 1.0}, "drop_path_rate=1.0 must be a number with 0 <="),
        ({"output_stride": 12}, "output_stride=12 must be one of 1, 2, 4, 8, 16, 32"),
        ({"padding": "sam"}, "padding='sam' must be one of 'same', 'valid'; did you mean 'same'?"),
        ({"ceil_mode": "pads"}, "ceil_mode='pads' must be one of 'pad'; did you mean 'pad'?"),
        ({"norm_layer": "groupnom"}, "did you mean 'groupnorm'?"),
        ({"act_layer": "relus"}, "act_layer='relus' must be one of"),
        ({"output_strid": 8}, "did you mean 'output_stride'?"),
    ],
)
def test_refusals(options, text):
    with pytest.raises(iz.ArgumentError) as error:
        iz.create_model("googlenet", **options)
    assert text in str(error.value)


@pytest.mark.parametrize("name", ["googlenet", "googlenet_5x5", "googlenet_paper"])
@pytest.mark.parametrize("limit", [2, 8, 16])
def test_ceil_mode_by_padding_and_output_stride(name, limit):
    model = make(name, ceil_mode="pad", output_stride=limit).eval()
    plain = make(name, output_stride=limit).eval()
    plain.load_state_dict(model.state_dict())
    x = noise(1, 3, 80, 96)
    assert model(x).equal(plain(x))


def test_ceil_mode_by_padding_leaves_average_pools():
    net = iz.network(a=iz.Pool("avg", 3, 2, ceil=True), b=iz.Pool("max", 3, 2, ceil=True))
    changed = apply_variants(net, ceil_mode="pad")
    assert [layer.ceil for _, layer in changed.stages] == [True, "pad"]


@pytest.mark.parametrize("name", ["vgg11_bn_cifar", "vgg11"])
def test_no_dilated_pool_sees_only_padding(name):
    head = {} if "cifar" in name else {"head": "pool"}
    for limit in (1, 2, 4, 8):
        model = iz.create_model(name, num_classes=3, output_stride=limit, **head).eval()
        for side in range(model.min_input_size, model.min_input_size + 9):
            assert model(noise(1, 3, side, side)).isfinite().all(), (limit, side)


def test_drop_path_of_one_block_and_of_blocks_in_chains():
    block = iz.Residual(iz.Conv(3))
    one = apply_variants(iz.network(a=block), drop_path_rate=0.5)
    assert one.stages[0][1].drop_path == 0.5
    nested = apply_variants(iz.network(a=iz.chain(block, iz.Conv(3), block), b=block), drop_path_rate=0.5)
    first, second = nested.stages
    assert [layer.drop_path for layer in (*first[1].layers[::2], second[1])] == [0, 0.25, 0.5]
    assert iz.build(nested)(noise(1, 3, 9, 9)).shape == (1, 1000)


@pytest.mark.parametrize("options", [{"output_stride": 8}, {"padding": "same"}], ids=str)
def test_a_variant_that_does_not_fit_is_named(options):
    ((argument, value),) = options.items()
    with pytest.raises(iz.ArgumentError, match=f"{argument}={value!r} does not fit this network"):
        iz.create_model("vgg11", pool="avg", **options)


def test_padding_of_networks_for_other_inputs(register):
    register("pairs", iz.network(a=iz.Conv(8, 3, 2, groups=2)), num_classes=2, input_size=(2, 32, 32))
    assert iz.create_model("pairs", padding="same").in_chans == 2
    register("long", iz.network(a=iz.Conv(8, 1001, 4, "valid"), spatial_dims=1), num_classes=2, input_size=(3, 4000))
    assert iz.create_model("long", padding="valid").min_input_size == 1001


GREY = iz.network(a=iz.Residual(iz.Conv(1, 3), project=False), b=iz.Conv(4, 3, 2))  # for one channel
PAIRS = iz.network(a=iz.concat(x=iz.Conv(8, 3, 2), y=iz.Conv(8, 3, 2, groups=2)))  # for two


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("network", "channels"), [(GREY, 1), (PAIRS, 2)], ids=["grey", "pairs"])
def test_padding_of_networks_that_do_not_take_three_channels(network, channels, padding):
    assert iz.build(apply_variants(network, padding=padding), channels)(noise(1, channels, 9, 9)).shape == (1, 1000)


@pytest.mark.parametrize("kernel", [2, 3, (2, 2), (3, 7)], ids=str)
def test_a_stage_that_is_an_unpadded_average_of_stride_one_stays_unpadded(kernel):
    network = iz.network(a=iz.Conv(3, 3, padding="valid"), b=iz.Pool("avg", kernel, 1, "valid"), c=iz.Pool("avg", 3))
    assert [layer.padding for _, layer in apply_variants(network, padding="same").stages] == ["same", "valid", "same"]


def test_an_unpadded_average_beside_a_convolution_is_padded_as_it():
    branches = iz.concat(conv=iz.Conv(3, 3, padding="valid"), pool=iz.Pool("avg", 3, 1, "valid"))
    network = apply_variants(iz.network(a=branches), padding="same")
    assert network == iz.network(a=iz.concat(conv=iz.Conv(3, 3, padding="same"), pool=iz.Pool("avg", 3, 1, "same")))


def test_a_pool_that_has_no_ceil_mode_by_padding_is_named():
    network = iz.network(a=iz.Pool("max", 2, 3, "valid", ceil=True))
    with pytest.raises(iz.ArgumentError, match="ceil_mode='pad' does not fit this network: .* needs a max pool whose kernel"):
        apply_variants(network, ceil_mode="pad")
