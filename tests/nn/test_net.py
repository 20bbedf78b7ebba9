"""Attributes of a model, and the errors of unsuitable images and arguments."""

from dataclasses import asdict, replace

import numpy
import pytest
import torch
from helpers import noise, tiny_network
from torch import nn

import inceptionzoo as iz


@pytest.fixture(scope="module")
def model() -> iz.Net:
    torch.manual_seed(0)
    return iz.create_model("googlenet", num_classes=2).eval()


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 3, 14, 224), "images of 14x224 px are too small: the smallest side is 15 px; resize them"),
        ((1, 1, 64, 64), r"images of shape (1, 1, 64, 64) must have shape (n, 3, height, width)"),
        ((3, 64, 64), r"images of shape (3, 64, 64) must have shape (n, 3, height, width)"),
    ],
)
def test_images_that_do_not_fit(model, shape, text):
    with pytest.raises(iz.InputError) as error:
        model(torch.randn(shape))
    assert text in str(error.value)


WRONG_IMAGES = {
    "a NumPy array": (lambda x: x.numpy(), "type ndarray must be a Tensor of shape (n, 3, height, width)"),
    "a list": (lambda x: list(x), "type list must be a Tensor"),
    "None": (lambda x: None, "type NoneType must be a Tensor"),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), "put the channels first: images.permute(0, 3, 1, 2)"),
    "one image": (lambda x: x[0], "a batch of one image is image[None]"),
    "grey": (lambda x: x[:, :1], "create_model(..., in_chans=1) makes a model for such images"),
    "pixels": (
        lambda x: x.byte(),
        "torch.uint8 must be of torch.float32, as the model's weights; normalise them",
    ),
    "double": (lambda x: x.double(), "torch.float64 must be of torch.float32, as the model's weights; use images.to(torch.fl"),
}


@pytest.mark.parametrize("features_only", [False, True])
@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_errors_of_images_name_the_remedy(tiny, case, features_only):
    make, text = WRONG_IMAGES[case]
    images = make(noise(2, 3, 8, 8))
    model = iz.create_model("tiny", features_only=True) if features_only else tiny
    for each in (model, iz.fuse(model)):
        with pytest.raises(iz.InputError) as error:
            each(images)
        assert text in str(error.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64, torch.complex64])
def test_images_that_autocast_leaves_as_they_are(tiny, dtype):
    text = f"images of {dtype} must be of torch.float32"
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(iz.InputError, match=text):
        tiny(noise(2, 3, 8, 8).to(dtype))


def test_errors_of_clips_name_the_remedy():
    pool = iz.Pool("avg", (2, 3, 3), 1, "valid")
    model = iz.build(iz.network(stem=iz.Conv(4, 3), pool=pool, spatial_dims=3)).eval()
    assert model(noise(2, 3, 5, 8, 8)).shape == (2, 1000)
    with pytest.raises(iz.InputError, match=r"put the channels before the frames: images.transpose\(1, 2\)"):
        model(noise(2, 5, 3, 8, 8))
    with pytest.raises(iz.InputError, match="images of 1x8x8 px do not fit: .*; use larger volumes, or clips of more frames"):
        model(noise(2, 3, 1, 8, 8))


def test_the_smallest_side_with_auxiliary_heads_is_named_as_such():
    model = iz.with_aux(iz.create_model("inception_v3", device="meta"))
    images, small = (torch.empty(2, 3, side, side, device="meta") for side in (150, 74))
    for call in (model.forward_aux, lambda _: model.set_input_size(150)):
        with pytest.raises(iz.InputError, match="the smallest side is 299 px with auxiliary heads; resize them"):
            call(images)
    assert model(images).shape == (2, 1000)  # `forward` runs no auxiliary head
    assert model.forward_features(images).shape == (2, 2048, 3, 3)
    with pytest.raises(iz.InputError, match="the smallest side is 75 px; resize them"):
        model(small)


class Cast(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float()


def test_what_users_do_to_images_before_the_network_is_kept(tiny):
    x = noise(2, 3, 8, 8)
    tiny.eval()
    pixels, expected = x.double().permute(0, 2, 3, 1), tiny(x)
    handle = tiny.register_forward_pre_hook(lambda module, arguments: (arguments[0].permute(0, 3, 1, 2).float(),))
    assert tiny(pixels).equal(expected)
    with pytest.raises(iz.InputError, match="must have shape"):  # of what the hook returns
        tiny(x)
    handle.remove()
    handle = tiny.features.stem.register_forward_pre_hook(lambda module, arguments: (arguments[0].float(),))
    assert tiny(x.double()).equal(expected)
    handle.remove()
    tiny.features.stem = nn.Sequential(Cast(), tiny.features.stem)
    assert tiny(x.double()).equal(expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert tiny(x.bfloat16()).dtype == torch.bfloat16


def test_images_of_every_network_with_hooks_are_checked(tiny):
    encoder = iz.create_model("inception_resnet_v1", features_only=True, repeats=(1, 1, 1)).eval()
    whole = iz.create_model("inception_resnet_v1", num_classes=2, repeats=(1, 1, 1), padding="same").train()
    for model in (tiny, encoder, whole):
        model.register_forward_pre_hook(lambda module, arguments: (arguments[0] * 1,))
    for model in (tiny, encoder):
        with pytest.raises(iz.InputError, match="must have shape"):
            model(noise(1, 5, 96, 96))
    with pytest.raises(iz.InputError, match="single value per channel in training"):  # in the head
        whole(noise(1, 3, 64, 64))


def test_one_small_image_in_training_names_the_remedy(model):
    model.train()
    try:
        with pytest.raises(iz.InputError, match="single value per channel in training; use two images or more"):
            model(torch.randn(1, 3, 32, 32))
        assert model(torch.randn(1, 3, 64, 64)).shape == (1, 2)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 2)
        plain = iz.create_model("googlenet_paper", num_classes=2).train()
        assert plain(torch.randn(1, 3, 32, 32)).shape == (1, 2)  # it has no batch normalisation
    finally:
        model.eval()


def test_batch_normalisation_in_the_head_concerns_the_whole_model_alone():
    """FaceNet's embedding is normalised over the batch; feature maps of one image need no second image."""
    arguments = {"padding": "same", "repeats": (1, 1, 1)}
    model, x = iz.create_model("inception_resnet_v1", num_classes=2, **arguments).train(), torch.randn(1, 3, 64, 64)
    with pytest.raises(iz.InputError, match="single value per channel in training; use two images or more"):
        model(x)
    assert model.forward_features(x).shape == (1, 1792, 2, 2)
    assert model.forward_intermediates(x, intermediates_only=True)[-1].shape == (1, 1792, 2, 2)
    encoder = iz.create_model("inception_resnet_v1", features_only=True, **arguments).train()
    assert encoder(x)[-1].shape == (1, 1792, 2, 2)
    for run in (model.forward_features, encoder):
        with pytest.raises(iz.InputError, match="single value per channel in training"):
            run(x[..., :32, :32])


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_branches_that_agree_at_every_other_size(kernel):
    """A stride-2 convolution rounds up and an unpadded pool rounds down. They agree only for even sizes."""
    block = iz.concat(x=iz.Conv(8, 3, 2), y=iz.Pool("max", 2, 2, "valid"))
    model = iz.build(iz.network(s=iz.Conv(4, kernel, 1, "valid"), a=block)).eval()
    smallest = model.min_input_size
    assert smallest == kernel + 1
    assert model(torch.randn(1, 3, smallest, smallest + 2)).shape == (1, 1000)
    with pytest.raises(iz.InputError, match="px do not fit: concat: the branches must give maps of one size"):
        model(torch.randn(1, 3, smallest, smallest + 1))


def test_branches_that_never_agree():
    with pytest.raises(iz.SpecError, match="the branches must give maps of one size"):
        iz.build(iz.network(a=iz.concat(x=iz.Conv(2, 3), y=iz.Conv(2, 3, 1, "valid"))))


def test_attributes_and_pretrained_cfg(model):
    assert (model.num_features, model.head_hidden_size, model.num_classes, model.in_chans) == (1024, 1024, 2, 3)
    assert model.pretrained_cfg == model.default_cfg
    assert model.pretrained_cfg["architecture"] == "googlenet"
    assert model.pretrained_cfg["input_size"] == (3, 224, 224)
    assert model.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    assert model.get_submodule(model.pretrained_cfg["classifier"]) is model.get_classifier()


def test_input_size_and_class_names():
    model = iz.create_model("googlenet", num_classes=2, device="meta")
    model.set_input_size(96)
    assert model.data.input_size == (3, 96, 96)
    model.set_input_size((64, 128))
    assert model.data.input_size == (3, 64, 128)
    model.set_input_size([128, 64])  # as in a file of settings
    assert model.data.input_size == (3, 128, 64)
    for size in ([96], [96, 96, 96]):
        with pytest.raises(iz.ArgumentError, match=r"must be an int or \(height, width\)"):
            model.set_input_size(size)
    with pytest.raises(iz.InputError, match="img_size=8: images of 8x8 px are too small: the smallest side is 15 px"):
        model.set_input_size(8)
    with pytest.raises(iz.ArgumentError, match="img_size='96'"):
        model.set_input_size("96")
    model.set_class_names(["benign", "malignant"])
    assert model.class_names == ("benign", "malignant")
    for names in (["a"], ["a", "a"], ["a", 1], "ab"):
        with pytest.raises(iz.ArgumentError, match="must be 2 different strings"):
            model.set_class_names(names)
    model.reset_classifier(3)
    assert model.class_names is None


@pytest.mark.parametrize("name", ["googlenet", "googlenet_paper"])
def test_auxiliary_heads(name):
    torch.manual_seed(0)
    plain = iz.create_model(name, num_classes=3)
    model = iz.with_aux(plain)
    assert model.features is plain.features
    assert set(model.state_dict()) - set(plain.state_dict()) == {key for key in model.state_dict() if key.startswith("aux.")}
    x = torch.randn(2, 3, 96, 96)
    assert isinstance(model(x), torch.Tensor)
    logits, taps = model.forward_aux(x)
    assert list(taps) == ["inception4a", "inception4d"]
    assert {tuple(tap.shape) for tap in (logits, *taps.values())} == {(2, 3)}
    sum(tap.square().mean() for tap in (logits, *taps.values())).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.reset_classifier(4)
    assert all(tap.shape == (2, 4) for tap in model.forward_aux(x)[1].values())
    smallest = model.min_input_size
    assert model.train().forward_aux(torch.randn(2, 3, smallest, smallest))[0].shape == (2, 4)
    with pytest.raises(iz.InputError, match=f"smallest side is {smallest} px"):
        model.forward_aux(torch.randn(2, 3, smallest - 1, smallest - 1))


def test_with_aux_keeps_the_heads_that_a_model_has(tiny):
    model = iz.with_aux(tiny)
    assert iz.with_aux(model) is model


def test_with_aux_refuses_models_without_auxiliary_heads_or_classes():
    with pytest.raises(iz.ArgumentError, match="vgg11 has no auxiliary heads"):
        iz.with_aux(iz.create_model("vgg11", device="meta"))
    with pytest.raises(iz.ArgumentError, match="num_classes=0 leaves the heads nothing"):
        iz.with_aux(iz.create_model("googlenet", num_classes=0, device="meta"))


def test_the_task_follows_the_number_of_outputs():
    model = iz.build(tiny_network())
    model.reset_classifier(1)
    model.task = "binary"
    model.head.fc = torch.nn.Linear(model.head_hidden_size, 4)
    assert (model.num_classes, model.task) == (4, "multiclass")
    model.task = "multilabel"
    model.head.fc = torch.nn.Linear(model.head_hidden_size, 1)
    assert model.task == "multilabel"
    model.prune_intermediate_layers(1)
    model.reset_classifier(1)
    assert model.task == "binary"


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_one_output_has_two_class_names_only_for_the_binary_task(task, tmp_path):
    model = iz.build(tiny_network())
    model.reset_classifier(1)
    model.class_names = ("benign", "malignant")
    model.task = task
    for use in (
        lambda names: model.set_class_names(names),
        lambda names: setattr(model, "class_names", names),
        lambda names: iz.save_weights(model, tmp_path / "m.safetensors", class_names=names),
    ):
        with pytest.raises(iz.ArgumentError, match=f"must be 1 different strings.* num_classes=1 and task='{task}'"):
            use(["low", "high"])
    assert model.class_names is None
    model.task = "binary"
    assert model.class_names == ("benign", "malignant")


def test_a_head_of_ones_own_gives_no_pre_logits():
    model = iz.build(tiny_network())
    model.head = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(model.num_features, 5))
    maps = model.forward_features(noise(2, 3, 8, 8))
    with pytest.raises(iz.ArgumentError, match="pre_logits=True needs a head of this library; the model's is a Sequential"):
        model.forward_head(maps, pre_logits=True)
    assert model.forward_head(maps).shape == (2, 5)


USES = {
    "fit": lambda model, data: iz.fit(model, data, epochs=1),
    "evaluate": lambda model, data: iz.evaluate(model, data),
    "predict": lambda model, data: iz.predict(model, data[0][0][0]),
    "fit_weights": lambda model, data: iz.Ensemble([model]).fit_weights(data),
}


@pytest.mark.parametrize("use", USES)
def test_a_model_without_values_is_refused(use):
    model = iz.create_model("googlenet_cifar", num_classes=2, device="meta")
    with pytest.raises(
        iz.ArgumentError, match="the model is on the meta device and holds no weights; load or create them first"
    ):
        USES[use](model, [(noise(4, 3, 32, 32), torch.tensor([0, 1, 1, 0]))])


UNUSED = {
    **dict.fromkeys(("fc", "classifier", "last_linear"), r"model.head.fc; model.reset_classifier\(num_classes\) replaces it"),
    **dict.fromkeys(("AuxLogits", "aux1", "aux2"), r"with_aux\(model\) has auxiliary heads, in model.aux"),
    **dict.fromkeys(("avgpool", "avg_pool", "global_pool"), "the pooling is model.head.pool"),
    **dict.fromkeys(("dropout", "head_drop"), "the dropout is model.head.drop"),
    "stem": "the stage is model.features.stem",
}


@pytest.mark.parametrize("name", UNUSED)
def test_a_part_under_a_name_that_no_forward_pass_uses_is_refused(name):
    model = iz.build(tiny_network())
    with pytest.raises(iz.ArgumentError, match=f"model.{name} is not used: .*{UNUSED[name]}"):
        setattr(model, name, torch.nn.Linear(8, 2))
    assert name not in dict(model.named_modules())
    model.regularizer = torch.nn.Linear(8, 2)
    assert "regularizer.weight" in model.state_dict()


def test_stages_may_have_the_names_of_a_models_parts():
    network = iz.network(features=iz.Conv(8, 3))
    model = iz.build(replace(network, stages=(*network.stages, ("head", iz.Conv(8, 3)))))
    model.head = model.head
    assert model(noise(2, 3, 8, 8)).shape == (2, 1000)


def test_a_feature_network_names_its_stages(tiny):
    encoder = iz.create_model("tiny", features_only=True)
    with pytest.raises(iz.ArgumentError, match="model.stem is not used: the stage is model.features.stem"):
        encoder.stem = torch.nn.Identity()
    with pytest.raises(AttributeError, match="no attribute 'stem'; the stage is model.features.stem"):
        _ = encoder.stem


@pytest.mark.parametrize("name", ["num_classes", "global_pool", "drop_rate", "is_channels_last"])
def test_a_read_only_attribute_names_what_changes_it(tiny, name):
    with pytest.raises(AttributeError, match=rf"'{name}' .*has no setter; (model\.|set model.head.drop.p)"):
        setattr(tiny, name, 3)


@pytest.mark.parametrize("features_only", [False, True])
def test_timms_configuration_follows_the_preprocessing(tiny, features_only):
    model = iz.create_model("tiny", features_only=features_only)
    model.pretrained_cfg = {**model.pretrained_cfg, "crop_mode": "border", "license": "mit"}
    model.data = replace(model.data, mean=(0.1, 0.2, 0.3))
    values = asdict(model.data) | {"license": "mit"}
    assert {key: model.pretrained_cfg[key] for key in values} == {key: model.default_cfg[key] for key in values} == values
    with pytest.raises(iz.ArgumentError, match="data={} must be a DataConfig, for example"):
        model.data = {}
    assert model.data.mean == (0.1, 0.2, 0.3)


def test_the_names_of_other_libraries_have_a_hint():
    """Fine-tuning usually begins with model.fc.in_features."""
    model = iz.build(tiny_network())
    places = {"fc": "the classifier is model.head.fc", "classifier": "model.head.fc", "AuxLogits": r"with_aux\(model\)"}
    for name, place in (places | {"stem": "the stage is model.features.stem"}).items():
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'; .*{place}"):
            getattr(model, name)
    with pytest.raises(AttributeError, match="has no attribute 'other'$"):
        _ = model.other
    with pytest.raises(AttributeError, match="has no attribute 'network'$"):
        _ = iz.Net.__new__(iz.Net).network
    assert not hasattr(model, "fc")
    assert not hasattr(model, "stem")


@pytest.mark.parametrize("features_only", [False, True])
def test_load_state_dict_of_other_names_refers_to_load_weights(tiny, features_only):
    model = iz.create_model("tiny", features_only=features_only)
    state = {f"module.{key}": value + 1 for key, value in model.state_dict().items()}
    with pytest.raises(
        RuntimeError, match=r"Unexpected key\(s\)[\s\S]*inceptionzoo.load_weights\(model, state_dict\) also takes"
    ):
        model.load_state_dict(state)
    model.load_state_dict(state, strict=False)
    iz.load_weights(model, state)
    assert all(value.equal(state[f"module.{key}"]) for key, value in model.state_dict().items())


def test_a_network_without_weights_has_new_heads():
    side = iz.Aux("pool", iz.Pool("adaptive_avg", 2), iz.Head())
    model = iz.build(iz.network(pool=iz.Pool("max", 3, 2), aux=(side,)))
    model.reset_classifier(2)
    assert iz.with_aux(model).train().forward_aux(noise(2, 3, 8, 8))[1]["pool"].shape == (2, 2)
    model.prune_intermediate_layers()
    assert model(noise(2, 3, 8, 8)).shape == (2, 3, 4, 4)


def test_with_aux_keeps_what_was_set():
    model = iz.build(tiny_network())
    model.set_grad_checkpointing()
    model.set_memory_saving(False)
    iz.load_weights(model, model.state_dict())
    model.pretrained_cfg = {"architecture": "mine"}
    again = iz.with_aux(model)
    assert (again.grad_checkpointing, again.memory_saving, again.features.stem.memory_saving) == (True, False, False)
    assert again.report is model.report is not None
    assert again.pretrained_cfg == {"architecture": "mine"}


def test_reset_classifier_keeps_hidden_layers_of_the_same_shape():
    style = iz.Head("mlp", hidden=(8, 8), size=2, drop_rate=0.5)
    model = iz.build(iz.network(conv1=iz.Conv(4, 3, 2), head=style))
    hidden = model.head.hidden.fc1.weight
    model.reset_classifier(7)
    assert model.head.hidden.fc1.weight is hidden
    model.reset_classifier(7, "max")
    assert model.head.hidden.fc1.weight is hidden
    model.reset_classifier(7, "catavgmax")
    assert model.head.hidden.fc1.weight.shape == (8, 4 * 2 * 2 * 2)
    assert model.head.hidden.fc1.weight.std() > 0
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 7)


def test_auxiliary_heads_keep_their_pooling(tiny):
    model = iz.with_aux(tiny)
    model.reset_classifier(2, "max")
    assert (model.global_pool, model.aux["stem"].head.global_pool) == ("max", "avg")
    assert (model.num_classes, model.aux["stem"].head.num_classes) == (2, 2)


def test_reset_classifier_keeps_the_mode_of_hidden_layers():
    model = iz.build(iz.network(stem=iz.Conv(4, 3), head=iz.Head("embed", (8,))))
    model.head.hidden["bn1"].eval()
    model.head.drop.eval()
    model.reset_classifier(4)
    assert [name for name, module in model.named_modules() if not module.training] == ["head.hidden.bn1"]
    model.eval().reset_classifier(3, "max")
    assert not any(module.training for module in model.modules())


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*is (deprecated|not supported)", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("side", [2, 9])
def test_a_convolution_as_head_is_traced(side):
    model = iz.build(iz.network(stem=iz.Conv(4, 3), head=iz.Head("conv", (8,), 5))).eval()
    x = noise(1, 3, side, side)
    assert torch.jit.trace(model, x, check_trace=False)(x).equal(model(x))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("features_only", [False, True])
def test_torchscript_takes_a_traced_model(features_only):
    plain = iz.build(tiny_network()).eval()
    model = iz.FeatureNet(plain) if features_only else plain
    before = dict(model.named_modules())
    with pytest.raises(iz.ArgumentError, match=r"torch.jit.script cannot compile this model; use torch.jit.script\(torch.fx"):
        torch.jit.script(nn.Sequential(nn.Identity(), model))
    assert dict(model.named_modules()) == before
    scripted, x = torch.jit.script(torch.fx.symbolic_trace(model)), noise(2, 3, 8, 8)
    torch.testing.assert_close(scripted(x), model(x), rtol=0, atol=0)


@pytest.mark.xfail(torch.__version__.startswith("2.10."), reason="torch 2.10 guards the sizes of ceil pools", strict=True)
def test_a_program_for_images_of_any_size():
    """Named dimensions fail in torch for pools that round up."""
    pool = iz.Pool("max", 3, 2, ceil=True)
    net = iz.network(a=iz.Conv(4, 7, 2), b=pool, c=iz.Conv(4, 3), d=pool, e=iz.inception(2, 2, 2, 2, 2, 2), f=pool)
    model, free = iz.build(net).eval(), torch.export.Dim.DYNAMIC
    program = torch.export.export(model, (noise(2, 3, 32, 40),), dynamic_shapes=({0: free, 2: free, 3: free},)).module()
    images = noise(3, 3, 45, 33)
    assert program(images).equal(model(images))


def test_networks_made_of_a_model_keep_its_checkpointing():
    model = iz.create_model("googlenet_cifar", num_classes=2)
    model.set_grad_checkpointing()
    assert iz.FeatureNet(model).grad_checkpointing
    full = iz.create_model("googlenet", num_classes=2)
    full.set_grad_checkpointing()
    assert iz.with_aux(full).grad_checkpointing


def test_integers_of_numpy(tiny):
    tiny.reset_classifier(numpy.int64(2))
    tiny.set_input_size(numpy.int64(16))
    assert (tiny.num_classes, type(tiny.num_classes)) == (2, int)
    assert tiny.data.input_size == (3, 16, 16)
    tiny.set_input_size((numpy.int32(8), 12))
    assert tiny.data.input_size == (3, 8, 12)
    for one in (numpy.int64(1), torch.tensor(1)):
        assert tiny.tap_names(one) == tiny.tap_names(1)
        assert len(iz.create_model("tiny", features_only=True, out_indices=one).feature_info) == 1
    with pytest.raises(iz.ArgumentError, match="class_names=None must be 2 different strings"):
        tiny.set_class_names(None)
