"""Hooks, tracers and tools that look for torch's own types see what they would see in a model of torch's modules."""

import pytest
import torch
from helpers import fill, noise
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import inceptionzoo as iz

NETWORK = {
    "stem": iz.Conv(6, 3),
    "pool": iz.Pool("max", 3, 2),
    "block": iz.inception(3, 3, 4, 2, 3, 2),
    "residual": iz.Residual(iz.chain(iz.Conv(4), iz.Pool("max", 3)), shortcut=iz.Pool("max", 3)),
}
HOOKS = "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_full_backward_pre_hook"
TORCH = "torch.nn."


@pytest.fixture
def model() -> iz.Net:
    head = iz.Head("mlp", hidden=(8, 8), size=2, drop_rate=0.5)
    return fill(iz.build(iz.network(NETWORK, head=head)), noise(8, 3, 16, 16)).train()


def leaves(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if not list(module.children())]


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn", "vgg11_bn_cifar", "googlenet", "inception_v3"])
def test_every_leaf_is_a_module_of_torch(name):
    found = leaves(iz.create_model(name, device="meta"))
    assert {type(module).__module__[:9] for module in found} == {TORCH}
    assert not any(type(module) in (nn.Identity, nn.ModuleDict) for module in found)
    assert not any(getattr(module, "inplace", False) for module in found)


def test_a_head_calls_a_relu_for_each_hidden_layer(model):
    seen = []
    for module in model.head.modules():
        if type(module) is nn.ReLU:
            module.register_forward_hook(lambda module, x, y: seen.append(module))
    model(noise(2, 3, 16, 16))
    assert len(seen) == len(set(seen)) == 2


@pytest.mark.parametrize("training", [True, False])
def test_a_hook_keeps_the_map_before_the_activation(model, training):
    """An activation in place would overwrite it."""
    kept = []
    for part in (model.features.stem.conv, model.features.stem.bn, model.features.block.branch1.bn):
        part.register_forward_hook(lambda module, x, y: kept.append((y, y.detach().clone())))
    model.train(training)(noise(2, 3, 16, 16))
    assert len(kept) == 3
    assert all(now.equal(then) for now, then in kept)
    assert all(now.min() < 0 for now, _ in kept)


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_see_every_leaf(model, hook):
    seen = []
    for module in leaves(model):
        getattr(module, hook)(lambda module, *_: seen.append(module))
    x, expected = noise(2, 3, 16, 16).requires_grad_(), set(leaves(model))
    model(x).square().sum().backward()
    assert set(seen) == expected


def test_global_hooks_see_every_leaf(model):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, x, y: seen.append(module))
    model(noise(2, 3, 16, 16))
    handle.remove()
    assert set(seen) >= set(leaves(model))


def test_a_forward_of_one_instance_is_called(model):
    """accelerate and many tools replace `forward` of an instance."""
    plain = model.features.stem.act.forward
    model.features.stem.act.forward = lambda x: 3 * plain(x)
    model.eval()
    x = noise(2, 3, 16, 16)
    got = model.features.stem(x)
    del model.features.stem.act.forward
    assert got.equal(3 * model.features.stem(x))


def test_guided_backpropagation_changes_gradients(model):
    """captum and others clamp the gradients of each nn.ReLU in a full backward hook."""
    x = noise(2, 3, 16, 16).requires_grad_()
    model.eval()
    (plain,) = torch.autograd.grad(model(x).sum(), x)
    for module in model.modules():
        if type(module) is nn.ReLU:
            module.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0].clamp(min=0),))
    (guided,) = torch.autograd.grad(model(x).sum(), x)
    assert (guided - plain).abs().max() > 0.01 * plain.abs().max()


def test_conv_bn_relu_can_be_fused_by_torch(model):
    x = noise(2, 3, 16, 16)
    model.eval()
    expected = model(x)
    names = [["features.stem.conv", "features.stem.bn", "features.stem.act"]]
    fused = torch.ao.quantization.fuse_modules(model, names)
    torch.testing.assert_close(fused(x), expected, rtol=1e-4, atol=1e-5)


def test_per_sample_gradients(model):
    """torch.func's gradients of each image equal those of one image at a time."""
    model.double().eval()
    weights = {name: value.detach() for name, value in model.named_parameters()}

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, weights, (x[None],)).square().sum()

    x = noise(2, 3, 16, 16).double()
    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    for index in range(2):
        model.zero_grad()
        model(x[index : index + 1]).square().sum().backward()
        for name, value in model.named_parameters():
            torch.testing.assert_close(together[name][index], value.grad)


def saved_bytes(model: nn.Module) -> int:
    sizes = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes(), value
        return value

    with saved_tensors_hooks(pack, lambda value: value):
        model(noise(2, 3, 16, 16))
    return sum(size for size, _ in sizes.values())


def test_memory_saving_can_be_disabled(model):
    small = saved_bytes(model)
    model.set_memory_saving(False)
    assert saved_bytes(model) > 1.2 * small
    assert not iz.FeatureNet(model, 1).features.memory_saving
    names = set()

    def walk(node: torch.autograd.graph.Node | None) -> None:
        if node is not None and node not in names:
            names.add(node)
            for following, _ in node.next_functions:
                walk(following)

    walk(model(noise(2, 3, 16, 16)).grad_fn)
    assert not [node.name() for node in names if "Masked" in node.name() or "Compact" in node.name()]
    model.set_memory_saving()
    assert saved_bytes(model) == small
    with pytest.raises(iz.ArgumentError, match="enable='no' must be True or False"):
        model.set_memory_saving("no")
