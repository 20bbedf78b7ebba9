"""fuse: the same outputs by fewer operations, for everything the library builds."""

import copy
import pickle
from functools import partial

import pytest
import torch
from helpers import IMAGE_MODELS, distance, fill, noise, one_thread, pre_activation_taps
from torch import nn

import inceptionzoo as iz
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference._modules import JoinedBranches, PoolBiasAct, TunableModule

CLOSE = 1e-9  # relative, in float64
ROUNDED = 1e-5  # in float32, where folding rounds each weight once
BY_WINOGRAD = 1e-4  # in float32, if every supported convolution runs by Winograd's method


def small(name: str, dtype: torch.dtype = torch.float64, **options: object) -> tuple[iz.Net, torch.Tensor]:
    """Return a model whose weights and statistics are not the initial ones, and images of odd height."""
    model = iz.create_model(name, num_classes=5, dtype=dtype, **options)
    side = max(model.min_input_size, 47)
    images = noise(2, model.in_chans, side, side + 8).to(dtype)
    return fill(model, images if dtype == torch.float64 else None), images


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


@one_thread()
@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_outputs_are_the_same(name):
    light = {"head": "pool"} if name.startswith("vgg") and not name.endswith("cifar") else {}  # the head stays as it is
    model, images = small(name, **light)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = iz.fuse(model)
    with torch.inference_mode():
        assert distance(fast(images), model(images)) < CLOSE
        assert distance(fast.forward_features(images), model.forward_features(images)) < CLOSE
        last, maps = fast.forward_intermediates(images)
        for ours, theirs in zip(maps, model.forward_intermediates(images, intermediates_only=True), strict=True):
            assert distance(ours, theirs) < CLOSE
        taps = pre_activation_taps(model)
        maps, expected = (each.forward_intermediates(images, taps, intermediates_only=True) for each in (fast, model))
        assert all(distance(ours, theirs) < CLOSE for ours, theirs in zip(maps, expected, strict=True))
        assert fast.forward_head(last, pre_logits=True).shape == (2, model.head_hidden_size)
    assert count(fast, nn.BatchNorm2d) == 0
    assert count(fast, nn.Conv2d) <= count(model, nn.Conv2d)
    assert fast.feature_info == model.feature_info
    assert fast.is_channels_last
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    ours = {value.untyped_storage().data_ptr() for value in fast.state_dict().values()}
    assert not ours & {value.untyped_storage().data_ptr() for value in model.state_dict().values()}


@one_thread()
@pytest.mark.parametrize("name", ["googlenet", "inception_v4", "inception_resnet_v1", "vgg13_bn", "xception"])
def test_outputs_are_the_same_in_float32(name):
    model, images = small(name, torch.float32)
    with torch.inference_mode():
        assert 0 < distance(iz.fuse(model)(images), model(images)) < ROUNDED


@one_thread()
@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_outputs_are_the_same_by_winograd(name, monkeypatch):
    """Supported convolutions run by Winograd's method, the others by oneDNN, pools by generated kernels."""
    monkeypatch.setattr(autotune, "_FASTEST", {})
    preferred = "winograd_4", "onednn", "kernel", "torch"
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(name for name in preferred if name in candidates))
    light = {"head": "pool"} if name.startswith("vgg") and not name.endswith("cifar") else {}
    model, images = small(name, torch.float32, **light)
    fast = iz.fuse(model)
    with torch.inference_mode():
        assert distance(fast(images), model(images)) < BY_WINOGRAD
    kinds = {
        type(implementation).__name__
        for part in fast.modules()
        if isinstance(part, TunableModule) and part._autotuner
        for _, implementation in part._autotuner.chosen.values()
    }
    assert "WinogradConv" in kinds
    assert kinds <= {
        "WinogradConv",
        "ChannelPaddedConv",
        "SpaceToDepthConv",
        "Im2colConv",
        "OneDNNConv",
        "MaxPoolOp",
        "AveragePoolOp",
        "function",
    }  # torch's function, if another implementation is too inaccurate


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("googlenet", 57, 39), ("inception_v3", 94, 66), ("inception_v3_fid", 94, 67), ("vgg11", 8, 8)],
)
def test_sibling_convolutions_are_joined(name, before, after):
    model = iz.create_model(name, device="meta")
    assert (count(model, nn.Conv2d), count(iz.fuse(model), nn.Conv2d)) == (before, after)


@one_thread()
@pytest.mark.parametrize("include_pad", [True, False])
@pytest.mark.parametrize("kernel", [3, 5])
def test_an_average_pool_moves_behind_its_convolution(register, include_pad, kernel):
    pooled = iz.chain(iz.Pool("avg", kernel, include_pad=include_pad), iz.Conv(5), iz.Conv(4, 3))
    block = iz.concat(
        a=iz.Conv(4), b=iz.chain(iz.Conv(3), iz.Conv(6, 3)), pooled=pooled, c=iz.Conv(4, 3), d=iz.Conv(2, act=False)
    )
    register("averaged", iz.network(block=block), num_classes=2, input_size=(6, 9, 9))
    model = fill(iz.create_model("averaged", in_chans=6, dtype=torch.float64), noise(4, 6, 9, 8).double())
    fast = iz.fuse(model)
    assert count(fast, PoolBiasAct) == count(fast, JoinedBranches) == 1
    images = noise(2, 6, 9, 8).double()
    with torch.inference_mode():
        assert distance(fast.forward_features(images), model.forward_features(images)) < CLOSE
        assert distance(fast(images), model(images)) < CLOSE


def scaled(kind: str) -> iz.Layer:
    body = iz.concat(a=iz.Conv(3), b=iz.chain(iz.Conv(3), iz.Conv(3, 3)))
    if kind == "projected":
        return iz.Residual(body, scale=0.2)
    return iz.Residual(iz.chain(body, iz.Conv(6, 3)), scale=0.2, project=False, act=False)


@one_thread()
@pytest.mark.parametrize("kind", ["projected", "plain"])
def test_residual_blocks_give_the_same_outputs(register, kind):
    register("summed", iz.network(conv1=iz.Conv(6, 3), block=scaled(kind)), num_classes=2, input_size=(3, 9, 9))
    images = noise(4, 3, 9, 9).double()
    model = fill(iz.create_model("summed", drop_path_rate=0.3, dtype=torch.float64), images)
    with torch.inference_mode():
        assert distance(iz.fuse(model)(images), model(images)) < CLOSE


@one_thread()
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same"},
        {"padding": "valid"},
        {"norm_layer": "groupnorm"},
        {"act_layer": "silu"},
        {"act_layer": nn.PReLU},
        {"output_stride": 8},
        {"global_pool": "catavgmax"},
        {"in_chans": 1},
    ],
    ids=str,
)
def test_models_with_other_options_give_the_same_outputs(options):
    model, images = small("googlenet", **options)
    with torch.inference_mode():
        assert distance(iz.fuse(model)(images), model(images)) < CLOSE
    assert count(iz.fuse(model), nn.GroupNorm) == count(model, nn.GroupNorm)


@one_thread()
def test_feature_networks_and_ensembles():
    images = noise(2, 3, 96, 96).double()
    encoder = fill(iz.create_model("inception_v3", features_only=True, dtype=torch.float64), images)
    fast = iz.fuse(encoder)
    with torch.inference_mode():
        for ours, theirs in zip(fast(images), encoder(images), strict=True):
            assert distance(ours, theirs) < CLOSE
    assert fast.feature_info.channels() == encoder.feature_info.channels()
    members = [
        fill(iz.create_model(name, num_classes=3, dtype=torch.float64), images) for name in ("googlenet", "vgg11_bn_cifar")
    ]
    for member in members:
        member.set_input_size(96)
    both = iz.Ensemble(members, [1, 3]).eval()
    with torch.inference_mode():
        assert distance(iz.fuse(both)(images), both(images)) < CLOSE
    assert iz.evaluate(iz.fuse(both), [(images, torch.tensor([1, 2]))]).probabilities.shape == (2, 3)


@one_thread()
def test_saved_and_loaded(tmp_path):
    for name in ("googlenet", "vgg11_bn_cifar", "inception_resnet_v1"):
        model, images = small(name, torch.float32)
        fast = iz.fuse(model)
        fast.set_class_names(list("abcde"))
        iz.save_weights(fast, tmp_path / "fast.safetensors")
        again = iz.load_model(tmp_path / "fast.safetensors")
        assert again.fused
        assert again.class_names == tuple("abcde")
        copies = again, copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))
        with torch.inference_mode():
            expected = fast(images)
            for copied in copies:
                assert copied(images).equal(expected)
        both = iz.Ensemble([fast, again])
        both.save(tmp_path / "both.safetensors")
        loaded = iz.Ensemble.load(tmp_path / "both.safetensors")
        with torch.inference_mode():
            assert distance(loaded(images).softmax(1), expected.softmax(1)) < ROUNDED


def test_a_feature_network_keeps_its_models_mode():
    """A feature network shares its stages with the model it was built from."""
    model = iz.create_model("googlenet", num_classes=5).eval()
    features = iz.FeatureNet(model)
    assert not any(module.training for module in (*model.modules(), *features.modules()))
    assert not iz.FeatureNet(iz.fuse(model)).training


def test_a_fused_model_stays_in_evaluation_mode():
    fast, images = iz.fuse(small("googlenet")[0]), small("googlenet")[1]
    assert not fast.train().training
    assert not any(module.training for module in fast.modules())
    both = iz.Ensemble([fast, iz.fuse(small("googlenet")[0])])
    loader = [(images, torch.tensor([0, 1]))]
    assert iz.evaluate(both, loader).probabilities.shape == iz.evaluate(nn.Sequential(fast), loader).probabilities.shape
    assert iz.predict(both, images[0].clamp(-1, 1))[0][1] <= 1
    assert len(both.fit_weights(loader)) == 2


class BatchNormTanh(nn.BatchNorm2d):
    """Batch normalisation followed by tanh, which cannot be folded."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).tanh()


@one_thread()
@pytest.mark.parametrize(
    "norm", [BatchNormTanh, partial(nn.BatchNorm2d, track_running_stats=False)], ids=["subclass", "batch statistics"]
)
def test_other_normalisations_are_not_folded(norm):
    model = iz.create_model("googlenet", num_classes=5, norm_layer=norm, dtype=torch.float64).eval()
    fast, images = iz.fuse(model), noise(2, 3, 64, 64).double()
    assert count(fast, nn.BatchNorm2d) == count(model, nn.BatchNorm2d)
    with torch.inference_mode():
        assert distance(fast(images), model(images)) < CLOSE


def test_reset_classifier_of_a_fused_model():
    model, images = small("googlenet")
    fast = iz.fuse(model)
    fast.reset_classifier(7)
    assert fast(images).shape == (2, 7)
    assert iz.predict(iz.fuse(model), images[0].clamp(-1, 1))[0][1] <= 1


@pytest.mark.parametrize("name", ["googlenet", "inception_resnet_v1"])
def test_a_fused_model_passes_torch_export(name):
    model, images = small(name)
    fast = iz.fuse(model)
    with torch.no_grad():
        expected = fast(images)
        exported = torch.export.export(fast, (images,)).module()
        assert distance(exported(images), expected) < CLOSE


@pytest.mark.full
def test_compiled_outputs_are_the_same():
    model, images = small("googlenet")
    fast = iz.fuse(model, compile=True)
    with torch.inference_mode():
        assert distance(fast(images), model(images)) < CLOSE
        assert fast.forward_features(images).shape[1] == 1024


def test_without_a_compiler(monkeypatch):
    model, images = small("vgg11_bn_cifar")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.warns(UserWarning, match="no C.. compiler of .*, clang.. is found; the model runs without torch.compile"):
        fast = iz.fuse(model, compile=True)
    with torch.inference_mode():
        assert distance(fast(images), model(images)) < CLOSE


def test_what_cannot_be_fused_trained_or_exported_is_refused(tmp_path):
    model, images = small("googlenet")
    fast = iz.fuse(model)
    batch = [(images, torch.tensor([0, 1]))]
    for call, error, text in (
        (lambda: iz.fuse(nn.Linear(2, 2)), iz.ArgumentError, "must be a model of create_model, or an Ensemble"),
        (lambda: iz.fuse(7), iz.ArgumentError, "must be a model of create_model"),
        (lambda: iz.fuse(fast), iz.ArgumentError, "fused already; use it as it is"),
        (lambda: iz.fuse(iz.with_aux(model)), iz.ArgumentError, "auxiliary heads are for training"),
        (lambda: iz.with_aux(fast), iz.ArgumentError, "a fused model cannot be trained"),
        (lambda: iz.fit(fast, batch, epochs=1), iz.ArgumentError, "train the model that it was made from"),
        (lambda: iz.load_weights(fast, model.state_dict()), iz.MismatchError, "either it or the model is fused"),
        (lambda: iz.export_weights(fast, tmp_path / "x.pth", layout="torchvision"), iz.ArgumentError, "the model is fused"),
        (lambda: iz.save_pretrained(fast, tmp_path / "d"), iz.ArgumentError, "the model is fused, which timm cannot read"),
    ):
        with pytest.raises(error, match=text):
            call()
    assert not any(tmp_path.iterdir())
    iz.save_weights(fast, tmp_path / "fast.safetensors")
    with pytest.raises(iz.MismatchError, match="either it or the model is fused"):
        iz.load_weights(model, tmp_path / "fast.safetensors")


@one_thread()
@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_gradients_of_images(act):
    """A fused model gives the same saliency map, although joined branches activate in place."""
    model, images = small("inception_v3", act_layer=act)
    maps = []
    for net in (model, iz.fuse(model)):
        x = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(net(x)[:, 0].sum(), x)
        maps.append(gradient)
    assert distance(maps[1], maps[0]) < CLOSE
