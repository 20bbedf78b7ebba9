"""Models registered in timm: timm's own checks of a model, and all options of its factory."""

import io
import json
import re

import pytest
import timm
import torch
from helpers import IMAGE_MODELS, distance, fill, noise, one_thread, quick
from publishers import PEERS, serve
from timm.data import create_transform, resolve_model_data_config
from timm.models import FeatureInfo, model_entrypoint, register_model
from timm.models._registry import _model_entrypoints, _module_to_models  # to undo what a test registers

import inceptionzoo as iz
from inceptionzoo.spec import min_feature_size
from inceptionzoo.zoo._registry import REGISTRY

NAMES = IMAGE_MODELS
TAGS = [f"{name}.{tag}" for name in NAMES for tag in REGISTRY[name].weights]
LARGE = {name for name in NAMES if re.fullmatch(r"vgg\d+\w*(?<!cifar)", name)} - {"vgg11_bn"}
SOME = quick(NAMES, {*NAMES} - LARGE)
iz.interop.timm.register()


@pytest.fixture
def forget():
    """Remove the models that a test adds to timm's registry."""
    before = set(_model_entrypoints)
    yield
    for name in set(_model_entrypoints) - before:
        del _model_entrypoints[name]
        for names in _module_to_models.values():
            names.discard(name)


def test_every_model_is_registered_and_none_of_timms_is_replaced():
    assert iz.interop.timm.register() == []
    known = timm.list_models()
    assert {f"izoo_{name}" for name in NAMES} <= set(known)
    assert set(NAMES) - set(known) == {"xception"}  # a deprecated name that timm still accepts
    for name in ("googlenet", "googlenet_paper", "bn_inception", "inception_v2", "inception_resnet_v1", "vgg16_1x1"):
        assert type(timm.create_model(name)) is iz.Net
    for name in ("inception_v3", "inception_v4", "inception_resnet_v2", "vgg16", "vgg19_bn", "xception"):
        assert model_entrypoint(name).__module__.startswith("timm.models")
    assert timm.list_models(module="izoo", filter="izoo_vgg*_cifar") == sorted(f"izoo_{n}" for n in NAMES if "_bn_cifar" in n)
    tags = {name.removeprefix("izoo_") for name in timm.list_models("izoo_*", pretrained=True, exclude_filters=["*_same.*"])}
    assert tags == set(TAGS)


def test_a_second_call_adds_new_models_and_keeps_foreign_ones(register, tiny, forget):
    def izoo_other(pretrained=False, **kwargs):
        raise AssertionError("a model of another library")

    register_model(izoo_other)
    register("other", tiny.network)
    with pytest.warns(UserWarning, match="'izoo_other' that is not this library's"):
        assert iz.interop.timm.register() == ["izoo_tiny", "tiny", "other"]
    assert model_entrypoint("izoo_other") is izoo_other
    assert timm.create_model("tiny", in_chans=1).network == tiny.network


@pytest.mark.parametrize("name", SOME)
def test_timms_checks_of_a_model(name):
    """timm's own tests of a model's configuration and of a model without its head."""
    torch.manual_seed(0)
    model = timm.create_model(f"izoo_{name}").eval()
    cfg, keys = model.default_cfg, set(model.state_dict())
    assert model.pretrained_cfg is cfg
    assert f"{cfg['classifier']}.weight" in keys
    assert isinstance(cfg["first_conv"], str | tuple)
    for first in [cfg["first_conv"]] if isinstance(cfg["first_conv"], str) else cfg["first_conv"]:
        assert f"{first}.weight" in keys
    side = min_feature_size(model.network)
    assert cfg["min_input_size"] == (3, side, side)
    images = noise(1, *cfg["input_size"])
    with torch.no_grad():
        maps = model.forward_features(images)
        pooled = model.forward_head(maps, pre_logits=True)
        assert maps.shape == (1, model.num_features, *cfg["pool_size"])
        assert pooled.shape == (1, model.head_hidden_size)
        assert model(images).isfinite().all()
        model.reset_classifier(0)
        torch.testing.assert_close(model(images), pooled, rtol=1e-4, atol=1e-5)
        model.reset_classifier(0, "")
        assert model(images).equal(maps)
    bare = timm.create_model(f"izoo_{name}", num_classes=0, global_pool="")
    assert (bare.num_classes, bare.global_pool) == (0, "")


@pytest.mark.parametrize("name", SOME)
def test_timms_checks_of_training_and_features(name):
    torch.manual_seed(0)
    side = {"inception_v4": 107}.get(name, 32 if "cifar" in name else 96)
    model = timm.create_model(f"izoo_{name}", num_classes=42, drop_rate=0.0)
    images = noise(2, 3, side, side)
    output = model(images)
    output.mean().backward()
    assert output.shape == (2, 42)
    assert all(parameter.grad is not None for parameter in model.parameters())
    plain = fill(model, images)
    info = FeatureInfo(model.feature_info, tuple(range(len(model.feature_info))))
    last, maps = plain.forward_intermediates(images)
    assert [x.shape[1] for x in maps] == info.channels()
    plain.set_grad_checkpointing()
    recomputed, _ = plain.forward_intermediates(images)
    torch.testing.assert_close(recomputed, last, rtol=1e-4, atol=1e-5)
    features = timm.create_model(f"izoo_{name}", features_only=True).eval()
    channels, reductions = features.feature_info.channels(), features.feature_info.reduction()
    assert len(channels) == (3 if name == "googlenet_cifar" else 5)
    for x, count, reduction in zip(features(images), channels, reductions, strict=True):
        assert x.shape[1] == count
        assert max(x.shape[2:]) <= -(-side // reduction) + 1
    assert len(timm.create_model(f"izoo_{name}", features_only=True, out_indices=(0, -1))(images)) == 2


def test_arguments_of_both_libraries():
    model = timm.create_model("izoo_inception_v3", num_classes=5, in_chans=1, drop_rate=0.3, padding="same", global_pool="max")
    assert (model.num_classes, model.in_chans, model.head.drop.p, model.global_pool) == (5, 1, 0.3, "max")
    assert model.arguments == {"padding": "same"}
    assert model.data == REGISTRY["inception_v3"].weights["tv_in1k"].data.sized(1, 299, 299)
    with pytest.raises(iz.ZooError, match=re.escape("unknown keyword 'pading' for 'inception_v3'; did you mean 'padding'?")):
        timm.create_model("izoo_inception_v3", pading="same")
    for feature_cls in ("dict", "list"):
        with pytest.raises(iz.ArgumentError, match=f"feature_cls='{feature_cls}' must be one of 'getter', 'hook', 'fx'"):
            timm.create_model("izoo_googlenet_cifar", features_only=True, feature_cls=feature_cls)
    assert len(timm.create_model("izoo_googlenet_cifar", features_only=True, feature_cls="hook")(noise(2, 3, 32, 32))) == 3
    with pytest.raises(RuntimeError, match="Invalid pretrained tag"):
        timm.create_model("izoo_inception_v3.tv")
    with torch.device("meta"):
        assert timm.create_model("izoo_vgg16", features_only=True, out_indices=range(5)).model.features[0].conv.weight.is_meta


def test_one_mean_for_all_channels():
    for mean in (0.4, (0.4,)):
        overlay = {"mean": mean, "std": (0.2,)}
        for channels in (1, 3):
            model = timm.create_model("izoo_googlenet_cifar", in_chans=channels, pretrained_cfg_overlay=overlay)
            assert (model.data.mean, model.data.std) == (pytest.approx((0.4,) * channels), pytest.approx((0.2,) * channels))


def test_the_same_seed_gives_the_same_model():
    models = []
    for make in (iz.create_model, lambda name, **keywords: timm.create_model(f"izoo_{name}", **keywords)):
        torch.manual_seed(3)
        models.append(make("googlenet", num_classes=2, in_chans=4).state_dict())
    assert all(value.equal(models[1][key]) for key, value in models[0].items())


def test_preprocessing_follows_pretrained_cfg():
    model = timm.create_model("izoo_googlenet", pretrained_cfg_overlay={"mean": (0.1, 0.2, 0.3), "input_size": (3, 96, 128)})
    assert (model.data.mean, model.data.input_size) == ((0.1, 0.2, 0.3), (3, 96, 128))
    config = resolve_model_data_config(model)
    assert (tuple(config["input_size"]), config["interpolation"], config["crop_pct"]) == ((3, 96, 128), "bilinear", 0.875)
    from PIL import Image

    image = Image.effect_noise((300, 200), 60).convert("RGB")
    ours, theirs = iz.transforms(model)(image), create_transform(**config)(image)
    torch.testing.assert_close(ours, theirs)
    model.set_input_size(64)
    assert tuple(resolve_model_data_config(model)["input_size"]) == (3, 64, 64)


def test_feature_networks_state_their_preprocessing():
    model = iz.create_model("xception_keras", features_only=True, device="meta")
    config = resolve_model_data_config(model)
    assert (config["mean"], config["interpolation"]) == ((0.5, 0.5, 0.5), model.data.interpolation)
    assert model.default_cfg is model.pretrained_cfg


@pytest.mark.parametrize("channels", [3, 1, 5])
@one_thread()
def test_published_weights_by_tag(host, monkeypatch, channels):
    peer = fill(PEERS["googlenet.tv_in1k"]())
    serve("googlenet.tv_in1k", peer.state_dict(), monkeypatch)
    expected = iz.create_model("googlenet.tv_in1k", pretrained=True, in_chans=channels).eval()
    model = timm.create_model("izoo_googlenet.tv_in1k", pretrained=True, in_chans=channels).eval()
    images = noise(2, channels, 64, 64)
    assert distance(model(images).detach(), expected(images).detach()) < 1e-6
    assert "state_dict" not in model.pretrained_cfg
    assert model.pretrained_cfg["tag"] == "tv_in1k"
    other = timm.create_model("googlenet", pretrained=True, in_chans=channels, num_classes=7).eval()
    assert other(images).shape == (2, 7)
    assert other.forward_features(images).equal(model.forward_features(images))
    features = timm.create_model("googlenet", pretrained=True, in_chans=channels, features_only=True).eval()
    assert features(images)[-1].equal(model.forward_features(images))
    assert "state_dict" not in features.pretrained_cfg


def test_weights_from_files(tmp_path):
    """A file in another layout through pretrained_cfg_overlay, a file that lacks a tensor, and checkpoint_path."""
    peer = fill(iz.create_model("googlenet", num_classes=3))
    iz.export_weights(peer, tmp_path / "theirs.pth", layout="torchvision")
    overlay = {"file": str(tmp_path / "theirs.pth"), "num_classes": 3}
    model = timm.create_model("izoo_googlenet", pretrained=True, num_classes=3, pretrained_cfg_overlay=overlay)
    assert all(value.equal(peer.state_dict()[key]) for key, value in model.state_dict().items())
    with pytest.raises(iz.errors.MismatchError, match="new_head"):
        timm.create_model("izoo_googlenet", pretrained=True, pretrained_cfg_overlay={"file": overlay["file"]})
    state = torch.load(tmp_path / "theirs.pth")
    state.pop("conv2.conv.weight")
    torch.save(state, tmp_path / "short.pth")
    short = {"file": str(tmp_path / "short.pth"), "num_classes": 3}
    with pytest.raises(iz.errors.MismatchError, match=r"1 missing \(conv2.conv.weight\)"):
        timm.create_model("izoo_googlenet", pretrained=True, num_classes=9, pretrained_cfg_overlay=short)
    iz.save_weights(peer, tmp_path / "ours.safetensors")
    reloaded = timm.create_model("izoo_googlenet", num_classes=3, checkpoint_path=str(tmp_path / "ours.safetensors"))
    assert all(value.equal(peer.state_dict()[key]) for key, value in reloaded.state_dict().items())


@one_thread()
def test_folders_of_both_libraries(tmp_path):
    model = fill(iz.create_model("inception_v3", num_classes=3, padding="same", global_pool="max"))
    model.set_input_size(96)
    iz.save_pretrained(model, tmp_path / "ours", class_names=["a", "b", "c"])
    timm_model = timm.create_model(f"local-dir:{tmp_path}/ours", pretrained=True).eval()
    images = noise(2, 3, 96, 96)
    assert timm_model(images).equal(model(images))
    assert (timm_model.data, timm_model.class_names, timm_model.global_pool) == (model.data, ("a", "b", "c"), "max")
    assert timm.create_model(f"local-dir:{tmp_path}/ours", pretrained=True, num_classes=2).num_classes == 2
    timm.models.save_for_hf(
        timm_model, tmp_path / "timm", safe_serialization=True, model_args={"padding": "same", "global_pool": "max"}
    )
    reloaded = iz.create_model(f"local-dir:{tmp_path}/timm").eval()
    assert reloaded(images).equal(model(images))


def test_class_names_of_folders(tmp_path):
    """One output may have two names, and timm's {index: name} those of the same number of classes."""
    binary = iz.create_model("googlenet_cifar", num_classes=1)
    iz.save_pretrained(binary, tmp_path, class_names=["benign", "malignant"])
    assert timm.create_model(f"local-dir:{tmp_path}", pretrained=True).class_names == ("malignant",)
    for labels, names in ((["benign", "malignant"], ("benign", "malignant")), ({"0": "malignant"}, ("malignant",))):
        config = json.loads((tmp_path / "config.json").read_text()) | {"label_names": labels}
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert timm.create_model(f"local-dir:{tmp_path}", pretrained=True).class_names == names
    assert timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=3).class_names is None


def test_a_network_that_was_replaced(register, forget):
    """timm's copy of the configuration is that of the first network."""
    register("own", iz.network(stem=iz.Conv(8, 3, 2)), num_classes=2, input_size=(3, 64, 64))
    iz.interop.timm.register()
    register("own", iz.network(stem=iz.Conv(16, 3, 2)), num_classes=5, input_size=(3, 32, 32), replace=True)
    assert iz.interop.timm.register() == []
    for name in ("own", "izoo_own"):
        model = timm.create_model(name)
        assert (model.num_classes, model.num_features, model.data.input_size) == (5, 16, (3, 32, 32))
        assert model.pretrained_cfg["architecture"] == name


@one_thread()
def test_a_repository_of_the_hub(tmp_path, host):
    model = fill(iz.create_model("googlenet", num_classes=2))
    iz.save_pretrained(model, tmp_path / "out", class_names=["benign", "malignant"])
    host.put_repo("owner/moles", {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}, "v1")
    timm_model = timm.create_model("hf-hub:owner/moles@v1", pretrained=True, cache_dir=tmp_path / "cache").eval()
    images = noise(1, 3, 64, 64)
    assert timm_model(images).equal(model(images))
    assert timm_model.class_names == ("benign", "malignant")


def test_timms_optimizer_and_ema():
    """As in timm's training script: parameter groups with layer decay, an average of the weights, a checkpoint."""
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3

    torch.manual_seed(0)
    model = timm.create_model("izoo_googlenet", num_classes=2)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.7)
    rates = {group["lr_scale"] for group in optimizer.param_groups}
    assert len(rates) > 10
    assert min(rates) == pytest.approx(0.7 ** (len(rates) - 1))
    average = ModelEmaV3(model, decay=0.5)
    loss = torch.nn.functional.cross_entropy(model(noise(4, 3, 64, 64)), torch.tensor([0, 1, 0, 1]))
    loss.backward()
    optimizer.step()
    average.update(model)
    assert not average.module.head.fc.weight.equal(model.head.fc.weight)
    stream = io.BytesIO()
    torch.save({"state_dict": model.state_dict(), "arch": "izoo_googlenet"}, stream)
    stream.seek(0)
    fresh = timm.create_model("izoo_googlenet", num_classes=2)
    assert str(fresh.load_state_dict(torch.load(stream)["state_dict"])) == "<All keys matched successfully>"


def test_a_model_may_have_the_name_of_a_function_of_timm(register, tiny, forget):
    register("create_model", tiny.network)
    assert "izoo_create_model" in iz.interop.timm.register()
    assert timm.create_model("create_model").network == tiny.network
    assert isinstance(timm.create_model("izoo_googlenet"), iz.Net)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_selected_levels_keep_their_reductions(depth):
    """timm prunes the model after the last selected level; a VGG also has maps of the image's own resolution."""
    model = iz.create_model("vgg11_bn_cifar").eval()
    net = timm.create_model("izoo_vgg11_bn_cifar", features_only=True, out_indices=tuple(range(depth))).eval()
    net.model.load_state_dict(model.state_dict(), strict=False)
    assert net.feature_info.reduction() == [2, 4, 8, 16, 32][:depth]
    images = noise(1, 3, 64, 64)
    maps, expected = net(images), model.forward_intermediates(images, list(range(depth)), intermediates_only=True)
    assert [x.shape[2] for x in maps] == [32, 16, 8, 4, 2][:depth]
    assert all(x.equal(y) for x, y in zip(maps, expected, strict=True))


def test_an_unknown_keyword_is_a_type_error_as_timm_expects():
    with pytest.raises(TypeError, match="unknown keyword 'not_a_model_arg' for 'googlenet'"):
        timm.create_model("izoo_googlenet", not_a_model_arg=1)


def test_names_with_same_padding():
    padded = set(timm.list_models("izoo_*_same"))
    assert padded == {
        f"izoo_{name}_same"
        for name in (
            "inception_v3", "inception_v3_fid", "inception_v4", "inception_resnet_v1", "inception_resnet_v2",
            "xception", "xception_keras",
        )
    }  # fmt: skip
    with torch.device("meta"):
        net = timm.create_model("izoo_inception_v4_same", features_only=True)
        maps = net(torch.empty(1, 3, 64, 64))
        whole = timm.create_model("izoo_xception_same", num_classes=2)
    assert [x.shape[2] for x in maps] == [32, 16, 8, 4, 2]
    assert whole.arguments == {"padding": "same"}
    assert whole.pretrained_cfg["pool_size"] == (10, 10)


def test_a_folder_that_timm_saved_under_a_name_with_same_padding(tmp_path, register, tiny, forget):
    register("unpadded", iz.network(stem=iz.Conv(4, 3, 2, "valid"), block=iz.Conv(4, 3, 2, "valid")), num_classes=2)
    register("own_same", tiny.network, num_classes=2)
    assert {"izoo_unpadded_same", "izoo_own_same"} <= set(iz.interop.timm.register())
    images = noise(1, 3, 16, 16)
    for name in ("izoo_unpadded_same", "izoo_own_same"):
        model = timm.create_model(name).eval()
        timm.models.save_for_hf(model, tmp_path / name, safe_serialization=True)
        again = iz.create_model(f"local-dir:{tmp_path / name}").eval()
        assert (again.network, again.entry.name) == (model.network, model.entry.name)
        assert again(images).equal(model(images))


def test_an_entry_point_gives_random_weights_by_default(host):
    model = model_entrypoint("izoo_googlenet")(num_classes=2)
    assert (model.num_classes, model.report, host.count()) == (2, None, 0)
