"""Every registered model in one and three dimensions."""

import copy
import math
import pickle
from dataclasses import replace

import pytest
import torch
from helpers import IMAGE_MODELS, distance, fill, noise, outputs, pre_activation_taps, quick
from torch import nn

import inceptionzoo as iz
from inceptionzoo.spec import Layer, as_tuple, map_leaves

NAMES = IMAGE_MODELS
SMALL = ("googlenet", "inception_v3", "vgg11_bn_cifar", "xception_keras")  # with every kind of layer and padding
DIMS = (1, 3)
LEAVES = nn.Conv1d, nn.Conv3d, nn.Linear


def make(name: str, dims: int, **arguments: object) -> iz.Net:
    torch.manual_seed(0)
    return iz.create_model(name, spatial_dims=dims, **{"num_classes": 3, "in_chans": 2, **arguments})


def inputs(model: iz.Net, count: int = 2, least: int = 33) -> torch.Tensor:
    dims, side = model.network.spatial_dims, max(least, model.min_input_size)
    return noise(count, model.in_chans, *(side + 3,) * (dims - 1), side)


def with_sizes(network: iz.Network, dims: int, change: object) -> iz.Network:
    """Return the network in `dims` dimensions; `change` is a function of each size (height, width)."""

    def change_leaf(leaf: Layer) -> Layer:
        names = [name for name in ("kernel", "stride", "dilation") if hasattr(leaf, name)]
        return replace(leaf, **{name: change(as_tuple(getattr(leaf, name), 2)) for name in names})

    head = replace(network.head, size=change(as_tuple(network.head.size, 2)))
    stages = tuple((name, map_leaves(layer, change_leaf)) for name, layer in network.stages)
    return replace(network, stages=stages, head=head, style=replace(network.style, spatial_dims=dims), aux=())


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_costs_are_those_of_real_modules(name, dims):
    """On the meta device, where a module of torch computes the shape of its output and nothing else."""
    model = make(name, dims, device="meta").eval()
    x = inputs(model, 1).to("meta")
    stages, layers = dict(model.features.named_children()), dict(model.named_modules())
    seen = outputs(stages, lambda: model(x))
    table = iz.summary(model, input_size=tuple(x.shape[1:]))
    assert {row.name: tuple(row.cost.shape) for row in table.rows[:-1]} == {key: tuple(y.shape[1:]) for key, y in seen.items()}
    params = sum(parameter.numel() for parameter in model.parameters())
    seen = outputs({key: layer for key, layer in layers.items() if isinstance(layer, LEAVES)}, lambda: model(x))
    macs = sum(layers[key].weight.numel() * math.prod(y.shape[2:]) for key, y in seen.items())
    assert (table.total.cost.params, table.total.cost.macs) == (params, macs)
    bad = [x[..., None], x[:, :1]] + [x[:, :, :1]] * (model.min_input_size > 1)
    for wrong in bad:
        with pytest.raises(iz.InputError):
            model(wrong)


@pytest.mark.parametrize("name", quick(NAMES, SMALL))
def test_one_dimension_is_an_image_of_height_one(name):
    """The network for images with kernels (1, width), which is tested against its references, gives the same on such images."""
    network = iz.create_model(name, in_chans=2, device="meta").network
    line, image = (with_sizes(network, dims, lambda size, dims=dims: (1, size[1])[2 - dims :]) for dims in (1, 2))
    ours, theirs = iz.build(line, in_channels=2), iz.build(image, in_channels=2)
    fill(theirs)
    ours.load_state_dict({key: value.reshape(ours.state_dict()[key].shape) for key, value in theirs.state_dict().items()})
    x = inputs(ours.eval(), least=65)
    with torch.no_grad():
        maps = ours.forward_intermediates(x)[1], theirs.forward_intermediates(x[:, :, None])[1]
    for one, other in zip(*maps, strict=True):
        assert distance(one, other.squeeze(2)) < 1e-5
    with torch.no_grad():
        assert distance(ours(x), theirs(x[:, :, None])) < 1e-5


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", quick(NAMES, SMALL[:2]))
def test_three_dimensions_are_images_side_by_side(name, axis):
    """With kernels of one pixel along one of the three dimensions, each slice is an image that the 2-D network sees."""
    network = iz.create_model(name, in_chans=2, device="meta").network
    volume = with_sizes(network, 3, lambda size: (*size[:axis], 1, *size[axis:]))
    ours, theirs = iz.build(volume, in_channels=2), iz.build(network, in_channels=2)
    fill(theirs)
    ours.load_state_dict({key: value.reshape(ours.state_dict()[key].shape) for key, value in theirs.state_dict().items()})
    x = inputs(theirs.eval(), 3, least=47)
    stacked = x.movedim(0, axis + 1)[None]
    with torch.no_grad():
        maps = ours.eval().forward_intermediates(stacked)[1], theirs.forward_intermediates(x)[1]
    for one, other in zip(*maps, strict=True):
        assert distance(one[0].movedim(axis + 1, 0), other) < 1e-5


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("name", quick(NAMES, SMALL[:1]))
def test_gradients_and_checkpointing(name, dims):
    head = {"head": "pool"} if name.startswith("vgg") and "cifar" not in name else {}
    padding = {"padding": "same"} if iz.model_info(name).min_input_size > 40 else {}
    model = make(name, dims, **head, **padding)
    x, plain = inputs(model), copy.deepcopy(model)
    model.set_grad_checkpointing()
    for each in (model, plain):
        torch.manual_seed(1)
        each(x).square().mean().backward()
    for (key, parameter), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert parameter.grad.isfinite().all(), key
        torch.testing.assert_close(parameter.grad, other.grad)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("name", quick(NAMES, SMALL[:2]))
def test_saved_copied_and_fused(name, dims, tmp_path):
    head = {"head": "pool"} if name.startswith("vgg") and "cifar" not in name else {}
    model = fill(make(name, dims, padding="same", **head))
    x = inputs(model)
    expected = model(x)
    iz.save_weights(model, tmp_path / "model.safetensors")
    loaded = iz.load_model(tmp_path / "model.safetensors")
    assert loaded.data == model.data
    assert len(loaded.data.input_size) == dims + 1
    for other in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other(x).equal(expected)
    with torch.inference_mode():
        assert distance(iz.fuse(model)(x), expected) < 1e-4
    features = iz.create_model(
        name, spatial_dims=dims, in_chans=2, padding="same", features_only=True, weights=tmp_path / "model.safetensors", **head
    ).eval()
    for one, other in zip(features(x), model.forward_intermediates(x, intermediates_only=True), strict=True):
        assert one.equal(other)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("name", quick(NAMES, SMALL[1:]))
def test_maps_before_the_activation_and_dilation(name, dims):
    head = {"head": "pool"} if name.startswith("vgg") and "cifar" not in name else {}
    plain, dilated = (fill(make(name, dims, padding="same", output_stride=stride, **head)) for stride in (None, 8))
    x = inputs(plain, 1)
    taps = pre_activation_taps(plain)[-3:]
    stages = [tap.removesuffix(":pre") for tap in taps]
    before, after = (plain.forward_intermediates(x, names, intermediates_only=True) for names in (taps, stages))
    for one, other in zip(before, after, strict=True):
        assert nn.functional.relu(one).equal(other) or one.min() < 0  # Inception-ResNet adds after its branches
    assert max(info["reduction"] for info in dilated.feature_info) == min(8, plain.feature_info[-1]["reduction"])
    side = math.ceil(x.shape[-1] / dilated.feature_info[-1]["reduction"])
    assert abs(dilated.forward_features(x).shape[-1] - side) <= 1


@pytest.mark.parametrize("dims", DIMS)
def test_traced_exported_and_compiled(dims):
    model = fill(make("googlenet", dims)).requires_grad_(False)
    x = inputs(model, least=15)
    expected = model(x)
    assert torch.fx.symbolic_trace(model)(x).equal(expected)
    fused = iz.fuse(model)
    assert distance(torch.fx.symbolic_trace(fused)(x), expected) < 1e-4
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},)).module()
    assert distance(exported(x[:1].repeat(3, *[1] * (dims + 1))), expected[:1].repeat(3, 1)) < 1e-5
    assert distance(torch.compile(model, backend="aot_eager")(x), expected) < 1e-5


@pytest.mark.parametrize("dims", DIMS)
def test_stochastic_depth_is_traced(dims):
    model = make("inception_resnet_v1", dims, padding="same", drop_path_rate=0.5).train()
    x = inputs(model, least=33)
    for each in (model, torch.fx.symbolic_trace(model)):
        torch.manual_seed(3)
        assert each(x[..., :33]).shape == (2, 3)


@pytest.mark.parametrize("dims", DIMS)
def test_with_aux(dims):
    model = iz.with_aux(make("googlenet", dims))
    logits, aux = model.forward_aux(inputs(model, least=65))
    assert [tuple(y.shape) for y in (logits, *aux.values())] == [(2, 3)] * 3


@pytest.mark.parametrize("kind", ["avg", "max", "avgmax", "catavgmax"])
@pytest.mark.parametrize("dims", DIMS)
def test_global_pools(dims, kind):
    model = make("googlenet", dims, global_pool=kind).eval()
    x = inputs(model)
    maps = model.forward_features(x).flatten(2)
    mean, maximum = maps.mean(2), maps.amax(2)
    pooled = {"avg": mean, "max": maximum, "avgmax": (mean + maximum) / 2, "catavgmax": torch.cat((mean, maximum), 1)}[kind]
    torch.testing.assert_close(model.forward_head(model.forward_features(x), pre_logits=True), pooled)


@pytest.mark.parametrize("head", ["mlp", "conv", "pool"])
@pytest.mark.parametrize("dims", DIMS)
def test_vgg_heads(dims, head):
    model = make("vgg11", dims, head=head, device="meta")
    assert model(inputs(model).to("meta")).shape == (2, 3)
    if head == "conv":
        assert model.head.hidden["fc1"].kernel_size == {1: (7,), 3: (1, 7, 7)}[dims]
    if head == "mlp":
        assert model.head.hidden["fc1"].in_features == 512 * {1: 7, 3: 49}[dims]


@pytest.mark.parametrize("dims", DIMS)
def test_fit_evaluate_ensemble_and_predict(dims):
    """A network for signals and one for volumes learn whether the last side is bright."""
    torch.manual_seed(0)
    network = iz.network(a=iz.Conv(8, 3, 2), b=iz.inception(4, 4, 4, 4, 4, 4), spatial_dims=dims)
    models = [iz.build(network, in_channels=1) for _ in range(2)]
    targets = torch.arange(32) % 2
    images = noise(32, 1, *(8,) * dims) + 2.0 * targets.view(-1, 1, *(1,) * dims)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, targets), 8)
    for model in models:
        model.reset_classifier(2)
        iz.fit(model, loader, loader, epochs=8, progress=False)
    result = iz.evaluate(iz.Ensemble(models), loader)
    assert result.accuracy > 0.9
    model = models[0].eval()
    model.set_class_names(["dark", "bright"])
    assert iz.predict(model, images[1])[0][0] == "bright"
    axes = {1: "(c, length)", 3: "(c, depth, height, width)"}[dims]
    for wrong in (images, images[0, 0]):
        with pytest.raises(iz.ArgumentError, match=r"must have shape \(c, "):
            iz.predict(model, wrong)
    for call in (lambda: iz.transforms(model), lambda: iz.predict(model, "mole.jpg")):
        with pytest.raises(iz.ArgumentError, match=f"spatial_dims={dims}") as raised:
            call()
    assert axes in str(raised.value)
