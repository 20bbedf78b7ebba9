"""timm's methods: intermediate maps, feature networks, checkpointing and parameter groups."""

import copy

import pytest
import torch
from helpers import outputs, quick, tiny_network
from timm.models import FeatureInfo as TimmFeatureInfo
from timm.models._manipulate import group_parameters
from torch import nn

import inceptionzoo as iz

SMALL = ("googlenet", "googlenet_paper", "googlenet_cifar", "bn_inception", "xception", "inception_resnet_v1", "vgg11_bn_cifar")
LEVELS = {  # the last stage of each resolution
    "googlenet": "conv1 conv2 inception3b inception4e inception5b",
    "googlenet_paper": "conv1 norm2 inception3b inception4e inception5b",
    "googlenet_cifar": "inception3b inception4e inception5b",
    "bn_inception": "conv1 conv2 inception3b inception4d inception5b",
    "inception_v3": "Conv2d_2b_3x3 Conv2d_4a_3x3 Mixed_5d Mixed_6e Mixed_7c",
    "inception_v4": "Conv2d_2b_3x3 Mixed_4a Mixed_5e Mixed_6h Mixed_7d",
    "inception_resnet_v1": "Conv2d_2b_3x3 Conv2d_4a_3x3 block35_5 block17_10 block8_6",
    "inception_resnet_v2": "Conv2d_2b_3x3 Conv2d_4a_3x3 block35_10 block17_20 Conv2d_7b_1x1",
    "xception": "conv2 block1 block2 block11 conv4",
    "vgg11": "conv2_1 conv3_2 conv4_2 conv5_2 pool5",
    "vgg19_bn": "conv2_2 conv3_4 conv4_4 conv5_4 pool5",
    "vgg11_bn_cifar": "conv2_1 conv3_2 conv4_2 conv5_2 pool5",
}
CHANNELS = {"googlenet": [64, 192, 480, 832, 1024], "vgg11": [128, 256, 512, 512, 512], "googlenet_cifar": [480, 832, 1024]}


@pytest.fixture(scope="module")
def model() -> iz.Net:
    torch.manual_seed(0)
    return iz.create_model("googlenet", num_classes=3).eval()


def images(side: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, max(side, 75), max(side, 75) + 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LEVELS)
def test_feature_info_lists_the_levels(name):
    model = iz.create_model(name, device="meta")
    names = LEVELS[name].split()
    assert [info["module"] for info in model.feature_info] == [f"features.{part}" for part in names]
    assert [info["reduction"] for info in model.feature_info] == ([1, 2, 4] if "googlenet_cifar" in name else [2, 4, 8, 16, 32])
    if name in CHANNELS:
        assert [info["num_chs"] for info in model.feature_info] == CHANNELS[name]


@torch.no_grad()
def test_intermediates_equal_the_outputs_of_the_stages(model):
    x = images()
    names = [info["module"] for info in model.feature_info]
    seen = outputs({name: model.get_submodule(name) for name in names}, lambda: model(x))
    last, maps = model.forward_intermediates(x)
    assert last.equal(model.forward_features(x))
    assert all(one.equal(seen[name]) for one, name in zip(maps, names, strict=True))
    for indices, wanted in ((2, [3, 4]), ([0, -1], [0, 4]), ([4, 0, "inception3b"], [0, 2, 4]), (["conv2"], [1]), ((), None)):
        if wanted is None:
            with pytest.raises(iz.ArgumentError, match="must name at least one level or stage"):
                model.forward_intermediates(x, indices)
        else:
            taps = model.forward_intermediates(x, indices, intermediates_only=True)
            assert [tap.equal(maps[at]) for tap, at in zip(taps, wanted, strict=True)] == [True] * len(wanted)
    inner = model.forward_intermediates(x, ["inception4a"], intermediates_only=True)[0]
    assert inner.shape[1] == 512
    early, _ = model.forward_intermediates(x, [1], stop_early=True)
    assert early.equal(maps[1])


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        ([5], "indices: 5 must be in -5..4"),
        (6, "indices=6 must be in 1..5"),
        (True, "indices=True must be in 1..5"),
        ([True], "indices: True must be in -5..4"),
        (1.5, "indices=1.5 must be an int, or a list of level indices"),
        ("conv1", "indices='conv1' must be an int, or a list of level indices"),
        (["inception4z"], "unknown stage 'inception4z'; did you mean 'inception4"),
    ],
)
def test_invalid_indices_are_refused(model, indices, text):
    for call in (model.forward_intermediates, lambda x, indices: copy.copy(model).prune_intermediate_layers(indices)):
        with pytest.raises(iz.ArgumentError) as error:
            call(images(), indices)
        assert text in str(error.value)
    with pytest.raises(iz.ArgumentError, match="output_fmt='NLC' must be 'NCHW'"):
        model.forward_intermediates(images(), output_fmt="NLC")


@torch.no_grad()
def test_prune(model, tmp_path):
    x, pruned = images(), copy.deepcopy(model)
    expected = model.forward_intermediates(x, [0, 2], intermediates_only=True)
    assert pruned.prune_intermediate_layers([0, 2]) == [0, 2]
    assert list(dict(pruned.features.named_children())) == ["conv1", "pool1", "conv2", "pool2", "inception3a", "inception3b"]
    assert pruned(x).equal(expected[1])
    assert (pruned.num_features, pruned.num_classes, len(pruned.feature_info)) == (480, 0, 3)
    assert pruned.min_input_size <= model.min_input_size
    iz.save_weights(pruned, tmp_path / "pruned.safetensors")
    again = iz.load_model(tmp_path / "pruned.safetensors")
    assert (again.network, again.entry) == (pruned.network, None)
    assert again(x).equal(pruned.eval()(x))
    whole = copy.deepcopy(model)
    assert whole.prune_intermediate_layers(1, prune_head=False) == [4]
    assert whole(x).equal(model(x))
    assert whole.prune_intermediate_layers(1) == [4]
    assert whole(x).equal(model.forward_features(x))
    whole = copy.deepcopy(model)
    assert whole.prune_intermediate_layers([0], prune_head=False) == [0]
    assert (whole.num_classes, whole(x).shape[1]) == (0, 64)  # a head for other channels cannot stay


@pytest.mark.parametrize("name", quick((*SMALL, "vgg11"), ("googlenet", "googlenet_paper", "vgg11_bn_cifar", "vgg11")))
@torch.no_grad()
def test_features_only(name, tmp_path):
    torch.manual_seed(0)
    whole, x = iz.create_model(name, num_classes=2, **({"head": "pool"} if name == "vgg11" else {})).eval(), images(96)
    iz.save_weights(whole, tmp_path / "a.safetensors")
    net = iz.create_model(name, features_only=True, weights=tmp_path / "a.safetensors").eval()
    maps = net(x)
    assert len(maps) == len(net.feature_info) > 2
    assert all(a.equal(b) for a, b in zip(maps, whole.forward_intermediates(x, intermediates_only=True), strict=True))
    assert [one.shape[1] for one in maps] == net.feature_info.channels()
    if name not in ("inception_resnet_v1", "xception"):  # their stems are unpadded
        assert [max(1, round(96 / one.shape[2])) for one in maps] == net.feature_info.reduction()
    traced = torch.fx.symbolic_trace(net)
    exported = torch.export.export(net, (x,)).module()
    for other in (traced, exported, torch.compile(net, backend="eager", fullgraph=True)):
        assert all(a.equal(b) for a, b in zip(other(x), maps, strict=True))


def test_feature_info_agrees_with_timm():
    net = iz.create_model("googlenet", features_only=True, out_indices=(1, 2, 4), device="meta")
    rows = iz.create_model("googlenet", device="meta").feature_info
    theirs = TimmFeatureInfo(copy.deepcopy(rows), (1, 2, 4))
    for method in ("channels", "reduction", "module_name"):
        assert getattr(net.feature_info, method)() == getattr(theirs, method)()
    assert net.feature_info.channels(0) == 192
    assert net.feature_info.channels([0, 2]) == [192, 1024]
    assert net.feature_info.get_dicts(keys=["reduction"]) == [{"reduction": 4}, {"reduction": 8}, {"reduction": 32}]
    assert net.feature_info.get_dicts(idx=1) == rows[2]
    assert len(net.feature_info) == len([*net.feature_info]) == 3
    assert net.feature_info.out_indices == (1, 2, 4)
    assert not hasattr(net, "head")


def test_contradictory_arguments_are_refused():
    with pytest.raises(iz.ArgumentError, match="out_indices=.* has no effect without features_only=True"):
        iz.create_model("googlenet", out_indices=(1,))
    with pytest.raises(iz.ArgumentError, match="features_only=True leaves no head"):
        iz.create_model("googlenet", features_only=True, num_classes=2)


def gradients(model: iz.Net, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    torch.manual_seed(1)  # dropout
    logits = model(x)
    logits.square().sum().backward()
    return logits.detach(), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("name", quick(SMALL, {*SMALL} - {"googlenet_cifar"}))
def test_checkpointing_changes_nothing(name):
    torch.manual_seed(0)
    plain = iz.create_model(name, num_classes=3, drop_rate=0.5)
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    kept: dict[bool, int] = {}
    for model in (plain, saving):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: (sizes.append(t.numel()), t)[1], lambda t: t):
            logits = model(images(40))
        kept[model is saving] = sum(sizes)
        del logits
    assert kept[True] < 0.6 * kept[False]
    for buffers in (plain.buffers(), saving.buffers()):
        for buffer in buffers:
            buffer.zero_()
    (left, ours), (right, theirs) = gradients(plain, images(40)), gradients(saving, images(40))
    assert left.equal(right)
    assert all(a is not None and a.equal(b) for a, b in zip(ours, theirs, strict=True))
    assert all(a.equal(b) for a, b in zip(plain.buffers(), saving.buffers(), strict=True))
    saving.set_grad_checkpointing(False)
    assert not saving.grad_checkpointing


def test_checkpointing_with_taps_and_auxiliary_heads():
    torch.manual_seed(0)
    plain = iz.with_aux(iz.create_model("googlenet", num_classes=3, drop_rate=0.0)).eval()
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    for call, count in (
        (lambda net: [*net.forward_aux(images())[1].values()], 2),
        (lambda net: net.forward_intermediates(images())[1], 5),
    ):
        left, right = call(plain), call(saving)
        assert len(left) == count
        assert all(a.equal(b) for a, b in zip(left, right, strict=True))


def test_checkpointing_with_several_backward_passes():
    torch.manual_seed(0)
    plain = iz.build(tiny_network())
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    results = []
    for model in (plain, saving):
        x = images(32).requires_grad_()
        loss = model(x).square().sum()
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        gradient.square().sum().backward(retain_graph=True)
        loss.backward()
        results.append([x.grad, *(parameter.grad for parameter in model.parameters()), *model.buffers()])
    assert all(a.equal(b) for a, b in zip(*results, strict=True))


@pytest.mark.filterwarnings("ignore")  # torch's own, of the compiler
def test_checkpointing_in_a_compiled_training_step():
    torch.manual_seed(0)
    plain = iz.build(tiny_network())
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    results = []
    for model, call in ((plain, plain), (saving, torch.compile(saving, backend="aot_eager"))):
        call(images(32)).square().sum().backward()
        results.append([*(parameter.grad for parameter in model.parameters()), *model.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("coarse", [False, True])
def test_parameter_groups(model, coarse):
    groups = group_parameters(model, model.group_matcher(coarse=coarse))
    ordered = [groups[key] for key in sorted(groups)]
    assert ordered[0][0].startswith("features.conv1.")
    assert ordered[-1] == ["head.fc.weight", "head.fc.bias"]
    assert sorted(name for group in ordered for name in group) == sorted(name for name, _ in model.named_parameters())
    assert len(ordered) == (6 if coarse else 12)
    assert model.no_weight_decay() == set()


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("vgg11_bn_cifar", ["conv1_1"]),  # before the first level: a map of the image's own resolution
        ("vgg11_bn_cifar", [0]),
        ("vgg11_bn_cifar", [0, 2]),
        ("vgg11_bn_cifar", ["pool3"]),
        ("googlenet_cifar", ["inception3a"]),
        ("googlenet_cifar", [1]),
        ("googlenet", [2]),
    ],
)
def test_the_index_of_a_level_does_not_depend_on_pruning(name, last):
    model = iz.create_model(name, device="meta")
    rows, groups = list(model.feature_info), model.group_matcher(coarse=True)["blocks"]
    model.prune_intermediate_layers(last)
    kept = {f"features.{stage}" for stage, _ in model.features.named_children()}
    levels = [row for row in rows if row["module"] in kept]
    assert list(model.feature_info) == (levels or model.stage_info([last[0]]))  # before the first level, the last map is one
    assert model.group_matcher(coarse=True)["blocks"] == groups[: len(kept)]
    built = iz.build(model.network)
    assert built.feature_info == model.feature_info


def test_a_feature_network_has_only_the_stages_that_it_needs():
    whole = iz.create_model("vgg11_bn_cifar", device="meta")
    net = iz.create_model("vgg11_bn_cifar", features_only=True, out_indices=(0, 1), device="meta")
    stages = [name for name, _ in whole.features.named_children()]
    assert [name for name, _ in net.features.named_children()] == stages[: stages.index("conv3_2") + 1]
    assert net.feature_info.reduction() == [2, 4]


@pytest.mark.parametrize("mode", [True, False])
def test_networks_made_of_a_model_keep_its_mode(tiny, mode):
    tiny.train(mode)
    encoder = iz.FeatureNet(tiny, ["stem"])
    tiny.prune_intermediate_layers(["stem"])
    for net in (encoder, tiny):
        assert {part.training for part in net.modules()} == {mode}


def saved_values(call: object) -> int:
    """Return how many values autograd saves for the backward pass of `call()`."""
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (sizes.append(t.numel()), t)[1], lambda t: t):
        result = call()
    assert result is not None
    return sum(sizes)


def test_checkpointing_saves_less_for_intermediate_maps_features_and_auxiliary_heads():
    model, x = iz.with_aux(iz.create_model("googlenet", num_classes=3, drop_rate=0.0)), images(40)
    encoder = iz.create_model("googlenet", features_only=True)
    for net, call in (
        (model, lambda: model.forward_intermediates(x)),
        (model, lambda: model.forward_aux(x)),
        (encoder, lambda: encoder(x)),
    ):
        net.set_grad_checkpointing(False)
        plain = saved_values(call)
        net.set_grad_checkpointing()
        assert 0 < saved_values(call) < 0.6 * plain
    with torch.no_grad():
        assert saved_values(lambda: encoder(x)) == 0


@pytest.mark.parametrize(("name", "count"), [("googlenet", 11), ("vgg11_bn", 5), ("inception_v3", 13)])
def test_a_pool_is_checkpointed_with_what_is_before_it(name, count):
    """Else the map before it, which is larger than the one behind it, would be kept."""
    segments = iz.create_model(name, device="meta")._segments()
    assert len(segments) == count
    assert not any(isinstance(segment[0], nn.MaxPool2d) for segment in segments)


def test_a_new_classifier_brings_the_pooling_back():
    model = iz.create_model("vgg11_bn_cifar", num_classes=3, global_pool="max").eval()
    x = images(32)
    pooled = model.forward_features(x).amax((2, 3))
    model.reset_classifier(0, "")
    model.reset_classifier(0)
    assert model(x).ndim == 4
    model.reset_classifier(2)
    assert (model.global_pool, model(x).shape) == ("max", (2, 2))
    assert model.forward_head(model.forward_features(x), pre_logits=True).equal(pooled)
    bare = iz.create_model("googlenet_cifar", num_classes=0, global_pool="", device="meta")
    with pytest.raises(iz.ArgumentError, match="global_pool='' needs num_classes=0"):
        bare.reset_classifier(2, "")
    bare.reset_classifier(2)
    assert (bare.global_pool, bare.num_classes) == ("avg", 2)


@pytest.mark.parametrize(("pool", "expected"), [(None, "avg"), ("max", "max")])
def test_a_new_classifier_in_place_of_a_head_of_the_users_own(tiny, pool, expected):
    tiny.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(5))
    tiny.reset_classifier(3, pool)
    assert (tiny.global_pool, tiny.num_classes, tiny(images(8)).shape) == (expected, 3, (2, 3))
