"""Maps before the activation that ends a stage: `forward_intermediates` and feature networks with "STAGE:pre"."""

import copy

import pytest
import timm
import torch
import torchvision
from helpers import fill, noise, one_thread
from torch import nn

import inceptionzoo as iz

TAPS = ["conv1_1:pre", "conv5_4:pre", "conv5_4"]


@pytest.fixture(scope="module")
def googlenet() -> iz.Net:
    return fill(iz.create_model("googlenet", num_classes=2), noise(2, 3, 96, 96))


def block_maps(stage: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the normalised maps of the four branches of an Inception block, which hooks on the modules see."""
    maps: dict[nn.Module, torch.Tensor] = {}
    last = [[part for part in branch.modules() if isinstance(part, nn.BatchNorm2d)][-1] for branch in stage.children()]
    hooks = [norm.register_forward_hook(lambda norm, _, y: maps.update({norm: y.clone()})) for norm in last]
    stage(x)
    [hook.remove() for hook in hooks]
    return torch.cat([maps[norm] for norm in last], 1)


@pytest.mark.full
@one_thread()
@torch.no_grad()
def test_vgg19_equals_torchvision_without_difference():
    theirs, x = torchvision.models.vgg19().eval(), noise(1, 3, 64, 64)
    model = iz.create_model("vgg19", weights=theirs.state_dict()).eval()
    expected = [theirs.features[:1](x), theirs.features[:35](x), theirs.features[:36](x)]
    assert expected[1].min() < 0
    net = iz.create_model("vgg19", weights=theirs.state_dict(), features_only=True, out_indices=TAPS).eval()
    for maps in (model.forward_intermediates(x, TAPS, intermediates_only=True), net(x)):
        assert all(map(torch.equal, maps, expected))
    assert net.feature_info.module_name() == [f"features.{tap}" for tap in TAPS]
    assert (net.feature_info.channels(), net.feature_info.reduction()) == ([64, 512, 512], [1, 16, 16])
    assert net.feature_info.out_indices == ("conv1_1:pre", "conv5_4:pre", 3)  # conv5_4 is a level
    assert [name for name, _ in net.features.named_children()][-1] == "conv5_4"


@torch.no_grad()
def test_an_inception_block_gives_the_joined_maps(googlenet):
    x = noise(1, 3, 64, 64)
    (before_block,) = googlenet.forward_intermediates(x, ["pool3"], intermediates_only=True)
    pre, block = googlenet.forward_intermediates(x, ["inception4a:pre", "inception4a"], intermediates_only=True)
    assert pre.equal(block_maps(googlenet.features.inception4a, before_block))
    assert pre.min() < 0
    assert pre.relu().equal(block)


def test_training_gradients_and_checkpointing(googlenet):
    """The maps keep their values through the backward pass, and gradients of both kinds of map are the same as by hooks."""
    x, taps = noise(2, 3, 64, 64), ["conv1:pre", "inception4a:pre", "inception5b"]
    results = []
    for checkpointing in (False, True):
        model = copy.deepcopy(googlenet).train()
        model.set_grad_checkpointing(checkpointing)
        maps = model.forward_intermediates(x, taps, intermediates_only=True)
        kept = [one.detach().clone() for one in maps]
        sum(one.pow(2).mean() for one in maps).backward()
        assert all(map(torch.equal, maps, kept))
        results.append([*kept, *(parameter.grad for parameter in model.features.parameters() if parameter.grad is not None)])
    assert all(map(torch.equal, *results))
    model = copy.deepcopy(googlenet).train()
    seen: list[torch.Tensor] = []
    model.features.conv1.bn.register_forward_hook(lambda _module, _args, y: seen.append(y))
    seen += model.forward_intermediates(x, taps[1:], intermediates_only=True)
    sum(one.pow(2).mean() for one in seen).backward()
    grads = [parameter.grad for parameter in model.features.parameters() if parameter.grad is not None]
    assert all(torch.allclose(ours, theirs, rtol=1e-4, atol=1e-7) for ours, theirs in zip(results[0][3:], grads, strict=True))


@torch.no_grad()
def test_hooks_export_and_in_place_activations(googlenet):
    x, model = noise(1, 3, 64, 64), copy.deepcopy(googlenet)
    net = iz.FeatureNet(model, ["inception3a:pre", "inception3b"])
    maps, seen = net(x), []
    for other in (torch.fx.symbolic_trace(net), torch.export.export(net, (x,)).module()):
        assert all(map(torch.equal, other(x), maps))
    assert all(map(torch.equal, torch.compile(net, backend="eager", fullgraph=True)(x), maps))
    model.features.inception3a.register_forward_hook(lambda _module, args, y: seen.append((len(args), y)))
    for act in [part for part in model.modules() if isinstance(part, nn.ReLU)]:
        act.inplace = True
    assert all(map(torch.equal, net(x), maps))
    assert seen[0][0] == 1  # hooks get the input alone, and the output of the stage
    assert seen[0][1].equal(maps[0].relu())


def test_a_replaced_module_is_refused(googlenet):
    model = copy.deepcopy(googlenet)
    model.features.conv1 = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU())
    with pytest.raises(iz.ArgumentError, match="a module of type Sequential replaces one of this model"):
        model.forward_intermediates(noise(1, 3, 64, 64), ["conv1:pre"])


@torch.no_grad()
def test_other_activations_and_pruning():
    model, x = fill(iz.create_model("googlenet", num_classes=2, act_layer="silu")), noise(1, 3, 64, 64)
    pre, block = model.forward_intermediates(x, ["inception3a:pre", "inception3a"], intermediates_only=True)
    assert nn.functional.silu(pre).equal(block)
    assert model.prune_intermediate_layers(["inception3a:pre"]) == ["inception3a:pre"]
    assert list(dict(model.features.named_children()))[-1] == "inception3a"
    assert model.forward_intermediates(x, ["inception3a:pre"], intermediates_only=True)[0].equal(pre)


@torch.no_grad()
def test_through_timm():
    iz.interop.timm.register()
    net = timm.create_model("izoo_vgg11_bn_cifar", features_only=True, out_indices=("conv4_2:pre",)).eval()
    (pre,) = net(noise(1, 3, 32, 32))
    assert pre.shape[1] == 512
    assert pre.min() < 0
