"""Runners: training steps, and which libraries have a model."""

import copy

import pytest
import torch
from helpers import distance, noise
from torch import nn

import inceptionzoo as iz
from inceptionzoo.bench import _libraries as libraries
from inceptionzoo.bench import _runners as runners
from inceptionzoo.bench.memory import measure_in_subprocess


def test_a_training_step_in_bf16():
    """Autocast computes in bfloat16; weights and gradients stay float32."""
    net, dtypes = iz.create_model("vgg11_bn_cifar", num_classes=2), []
    net.features[0].register_forward_hook(lambda module, args, out: dtypes.append(out.dtype))
    for precision in ("bf16", "fp32"):
        runners.training_step(net, noise(4, 3, 32, 32), precision)()
    assert dtypes == [torch.bfloat16, torch.float32]
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_a_training_step_changes_the_weights():
    model = iz.create_model("vgg11_bn_cifar", num_classes=2)
    for name, build in runners.training_networks(model, with_peers=False).items():
        net = build()
        before = copy.deepcopy(net.state_dict())
        step = runners.training_step(net, noise(4, 3, 32, 32))
        step()
        assert net.grad_checkpointing == name.endswith("checkpointed")
        assert net.memory_saving == (not name.endswith("memory saving off"))
        assert (net.training_ops is None) == name.endswith("kernels off")
        assert not any(value.equal(before[key]) for key, value in net.named_parameters() if key.endswith("weight"))
        assert {parameter.grad for parameter in net.parameters()} == {None}


def test_training_networks_of_other_libraries_in_each_form():
    networks = runners.training_networks(iz.create_model("vgg11_bn", device="meta"), with_peers=True, compiled=True)
    forms = ["torchvision", "torchvision, channels_last", "timm", "timm, channels_last"]
    assert [name for name in networks if not name.startswith("inceptionzoo") and not name.endswith("compiled")] == forms
    compiled = ["inceptionzoo, compiled", *(f"{form}, compiled" for form in forms[1::2])]
    assert [name for name in networks if name.endswith("compiled")] == compiled
    with torch.device("meta"):
        is_last = [networks[name]().features[0].weight.is_contiguous(memory_format=torch.channels_last) for name in forms]
    assert is_last == [False, True, False, True]


def test_models_that_the_bridge_added_to_timm_are_no_peers():
    iz.interop.timm.register()
    layouts = {
        name: libraries.layout_in("timm", iz.create_model(name, device="meta"))
        for name in ("googlenet", "inception_v4", "vgg16_bn")
    }
    assert layouts == {"googlenet": None, "inception_v4": "timm", "vgg16_bn": "timm"}


def test_timms_network_has_the_weights_of_ours():
    model = iz.create_model("inception_v3", num_classes=2).eval()
    theirs = libraries.build_timm(model).eval()
    assert not isinstance(theirs, iz.Net)
    images = noise(1, 3, 75, 75)
    with torch.inference_mode():
        assert distance(theirs(images), model(images)) < 1e-5


def test_a_file_is_timed_as_the_network_that_it_holds(tmp_path):
    """Its arguments and channels are built again for training and loading, and no peer's network is taken for it."""
    model = iz.create_model("vgg11_bn_cifar", num_classes=1, in_chans=1, norm_layer="groupnorm").eval()
    networks = runners.training_networks(model, with_peers=True)
    assert all(name.startswith("inceptionzoo") for name in networks)
    for build in networks.values():
        net = build()
        assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        runners.training_step(net, torch.rand(2, 1, 32, 32))()
    for name, load in runners.loading_runners(model, tmp_path, with_peers=True).items():
        assert load().network == model.network, name
    options = {"options": libraries.own_options(model), "shape": [2, 1, 32, 32]}
    assert measure_in_subprocess(model="vgg11_bn_cifar", runner="inceptionzoo", threads=1, with_peers=False, **options) > 0


@pytest.mark.parametrize(
    "options", [{"num_classes": 0}, {"global_pool": "max"}, {"num_classes": 0, "global_pool": ""}], ids=str
)
def test_models_with_another_head_have_no_peers(options):
    model = iz.create_model("vgg11_bn", **options, device="meta")
    assert [libraries.layout_in(library, model) for library in libraries.BUILDERS] == [None, None]
    with torch.device("meta"):
        net = runners.training_networks(model, with_peers=True)["inceptionzoo"]()
    assert (net.num_classes, net.global_pool) == (model.num_classes, model.global_pool)


@pytest.mark.parametrize("name", ["vgg11", "googlenet"])
def test_torchvision_loads_a_file_without_initial_weights_as_it_does_itself(name, tmp_path):
    assert libraries.torchvision_options(iz.create_model(name, device="meta"))["init_weights"] is False
    assert libraries.torchvision_options(iz.create_model(name, device="meta"), random=True)["init_weights"] is True
    if name == "googlenet":
        model = iz.create_model(name, num_classes=2).eval()
        libraries.save_in_layout(model, "torchvision", tmp_path / "a.safetensors")
        x = noise(1, 3, 64, 64)
        with torch.inference_mode():
            assert distance(libraries.load_torchvision(model, tmp_path / "a.safetensors").eval()(x), model(x)) < 1e-4
