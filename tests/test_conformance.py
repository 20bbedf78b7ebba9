"""Every registered model passes the same tests."""

import copy
import multiprocessing
import pickle
from itertools import pairwise
from pathlib import Path

import onnxruntime
import pytest
import torch
from helpers import measure, outputs, pre_activation_taps, quick, shape_text
from torch import nn
from torch.nn import functional as F

import inceptionzoo as iz
from inceptionzoo.nn import ConvNormAct, ResidualBlock

NAMES = iz.list_models()
CLIPS = [name for name in NAMES if len(iz.model_info(name).input_size) == 4]  # their inputs are (n, 3, t, h, w)
SIGNALS = [name for name in NAMES if len(iz.model_info(name).input_size) == 2]  # (n, 1, length)
LARGE = [name for name in NAMES if iz.model_info(name).params > 50_000_000]
COMPILED = quick(NAMES, ("googlenet", "inception_resnet_v1", "xception", "vgg11_bn_cifar"))  # they have every kind of layer
STORED = quick(NAMES, {*NAMES} - {*LARGE} | {"vgg11_bn", "inception_resnet_v2"})


def make(name: str, **arguments: object) -> iz.Net:
    """Return the model; one for videos without the pool before its head, so that small clips fit."""
    torch.manual_seed(0)
    return iz.create_model(name, **({"window": None} if name in CLIPS else {}), **arguments)


def images(name: str, count: int = 2, *, more: int = 0) -> torch.Tensor:
    """Return images of 33 px or the smallest size, or `more` pixels above that; or clips or signals."""
    side = max(33, iz.model_info(name).min_input_size) if not more else iz.model_info(name).min_input_size + more
    size = (9 + more, 33, 36) if name in CLIPS else (36 + more,) if name in SIGNALS else (side, side + 3)
    channels = iz.model_info(name).input_size[0]
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def spawned():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        yield pool


def run(model: iz.Net, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(x).clone()


def run_elsewhere(payload: bytes, x: bytes) -> bytes:
    torch.set_num_threads(1)
    return pickle.dumps(run(pickle.loads(payload), pickle.loads(x)))


@pytest.mark.parametrize("name", NAMES)
def test_meta_device_and_model_info_agree(name):
    model = make(name, device="meta")
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert sum(tensor.numel() for tensor in model.parameters()) == iz.model_info(name).params
    assert model(images(name).to("meta")).shape == (2, iz.model_info(name).num_classes)


@pytest.mark.parametrize("name", NAMES)
def test_summary_equals_a_count_on_real_tensors(name, capsys):
    model, x = make(name, num_classes=3).eval(), images(name, 1)
    stages = dict(model.features.named_children())
    with torch.inference_mode():
        seen = outputs(stages, lambda: model(x))
    table = iz.summary(model, input_size=tuple(x.shape[1:]))
    assert {row.name: str(row.cost.shape) for row in table.rows[:-1]} == {key: shape_text(y) for key, y in seen.items()}
    whole = measure(model, lambda: model(x))
    assert (table.total.cost.params, table.total.cost.macs) == whole
    assert sum(row.cost.params for row in table.rows) == whole[0]
    for row in table.rows[:-1]:
        assert (row.cost.params, row.cost.macs) == measure(stages[row.name], lambda: model(x)), row.name


@pytest.mark.parametrize("name", NAMES)
def test_output_is_one_tensor_in_both_modes(name):
    model, x = make(name, num_classes=3), images(name)
    for mode in (False, True):
        logits = model.train(mode)(x)
        assert isinstance(logits, torch.Tensor)
        assert logits.shape == (2, 3)
        assert logits.isfinite().all()
        assert logits[0].ne(logits[1]).any()
    logits.square().mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def is_normalized(module: nn.Module) -> bool:
    return isinstance(module, ConvNormAct) and isinstance(module.bn, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)


def biases_without_gradient(model: iz.Net) -> set[str]:
    """Return the biases that batch normalisation cancels in training, because it subtracts the mean of each channel.

    They are the biases of normalised convolutions. If a normalised 1x1 convolution follows a residual block without an
    activation, the bias of the block's projection is one too.
    """
    keys = {f"{name}.conv.bias" for name, module in model.named_modules() if is_normalized(module)}
    for (name, stage), (_, following) in pairwise(model.features.named_children()):
        is_linear = isinstance(stage, ResidualBlock) and isinstance(stage.act, nn.Identity)
        if is_linear and is_normalized(following) and following.conv.kernel_size == (1, 1):
            keys.add(f"features.{name}.project.conv.bias")
    return keys


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_a_gradient(name):
    """Use float64, which separates zero gradients from small ones, and images with final maps larger than one pixel."""
    options = {"head": "pool"} if name in LARGE[2:] else {}  # one of the large VGGs is enough with its dense layers
    model, x = make(name, num_classes=3, **options).double(), images(name, 3, more=32).double()
    F.cross_entropy(model(x), torch.tensor([0, 0, 1])).backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    sizes = {key: 0.0 if gradient is None else gradient.abs().max().item() for key, gradient in gradients.items()}
    largest, cancelled = max(sizes.values()), biases_without_gradient(model)
    assert {key for key, size in sizes.items() if size < 1e-6 * largest} == cancelled & sizes.keys()
    assert all(sizes[key] < 1e-12 * largest for key in cancelled & sizes.keys())


@pytest.mark.parametrize("name", STORED)
def test_save_load_copy_pickle_spawn(name, tmp_path, spawned):
    model, x = make(name, num_classes=3), images(name)
    model.train()(x)  # so that batch-normalisation statistics differ from their initial values
    model.eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected = run(model, x)
        path = tmp_path / "model.safetensors"
        iz.save_weights(model, path, class_names=["a", "b", "c"])
        loaded = iz.load_model(path)
        path.unlink()
        assert loaded.class_names == ("a", "b", "c")
        assert run(loaded, x).equal(expected)
        assert run(copy.deepcopy(model), x).equal(expected)
        payload = pickle.dumps(model)
        assert run(pickle.loads(payload), x).equal(expected)
        assert pickle.loads(spawned.apply(run_elsewhere, (payload, pickle.dumps(x)))).equal(expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NAMES)
def test_head_and_channels(name):
    x = images(name, 2)
    features = make(name, num_classes=0, global_pool="")
    last = run(features.eval(), x)
    assert last.ndim == x.ndim
    assert last.shape[1] == features.num_features
    assert last.equal(run_features(features, x))
    vector = make(name, num_classes=0).eval()
    assert run(vector, x).shape == (2, vector.head_hidden_size)
    for pool in ("max", "avgmax", "catavgmax"):
        model = (
            make(name, num_classes=3, global_pool=pool, head="pool")
            if "vgg" in name
            else make(name, num_classes=3, global_pool=pool)
        )
        assert run(model.eval(), x).shape == (2, 3)
    grey = make(name, num_classes=3, in_chans=1).eval()
    assert run(grey, x[:, :1]).shape == (2, 3)
    assert grey.data.input_size[0] == len(grey.data.mean) == 1


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_maps_before_the_activation(name):
    """A ReLU of the map gives the stage's output; a pool in the last block of a level takes maps that are not negative."""
    model, x = make(name, num_classes=0, global_pool="").eval(), images(name)
    pre_taps = pre_activation_taps(model)
    taps = [tap for pre in pre_taps for tap in (pre, pre.removesuffix(":pre"))]
    maps = model.forward_intermediates(x, taps, intermediates_only=True)
    assert len(maps) == 2 * len(pre_taps) > (2 if name in SIGNALS else 6)
    for pre, after in zip(maps[::2], maps[1::2], strict=True):
        assert pre.min() < 0
        assert pre.relu().equal(after)


def run_features(model: iz.Net, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.forward_features(x)


@pytest.mark.parametrize("name", NAMES)
def test_reset_classifier(name):
    model, x = make(name, num_classes=3).eval(), images(name)
    with torch.inference_mode():
        before = model.forward_head(model.forward_features(x), pre_logits=True)
    model.reset_classifier(5)
    assert run(model, x).shape == (2, 5)
    assert not model.head.training
    model.reset_classifier(0)
    assert run(model, x).equal(before)
    model.reset_classifier(0, "")
    assert run(model, x).ndim == x.ndim
    model.reset_classifier(2, "avg")
    assert run(model, x).shape == (2, 2)
    assert model.num_classes == model.get_classifier().out_features == model.pretrained_cfg["num_classes"] == 2


@pytest.mark.parametrize("name", NAMES)
def test_smallest_input(name):
    model = make(name, num_classes=3, **({"head": "pool"} if name in LARGE and "vgg" in name else {}))
    dims = model.network.spatial_dims
    smallest = next(side for side in range(1, 400) if accepts(model, side))
    assert smallest == model.min_input_size
    assert name in CLIPS or smallest == iz.model_info(name).min_input_size
    for mode in (False, True):
        model.train(mode)
        assert model(torch.randn(2, model.in_chans, *[smallest] * dims)).shape == (2, 3)
        if smallest > 1:
            for run in (model, model.forward_features, model.forward_intermediates):  # other libraries call the last two
                expected = "do not fit: a map of" if name in CLIPS else f"smallest side is {smallest} px"
                with pytest.raises(iz.InputError, match=expected):
                    run(torch.randn(2, model.in_chans, *[smallest + 9] * (dims - 1), smallest - 1))


def accepts(model: iz.Net, side: int) -> bool:
    """Return whether torch can run the stages and the head, without the model's input check."""
    try:
        with torch.inference_mode():
            model.eval().forward_head(model.features(torch.randn(1, model.in_chans, *[side] * model.network.spatial_dims)))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("name", COMPILED)
def test_trace_export_compile(name):
    model, x = make(name, num_classes=3).eval(), images(name)
    expected = run(model, x)
    assert run(torch.fx.symbolic_trace(model), x).equal(expected)
    assert run(torch.export.export(model, (x,)).module(), x).equal(expected)
    torch.compiler.reset()
    assert run(torch.compile(model, fullgraph=True, backend="eager"), x).equal(expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*is (deprecated|not supported)", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", ["googlenet", "inception_v2", "inception_resnet_v1", "xception", "vgg11_bn_cifar"])
def test_torchscript_by_tracing(name):
    """`torch.jit.trace`, which is deprecated, works at the traced size. `torch.jit.script` cannot read these modules."""
    model, x = make(name, num_classes=3).eval(), images(name)
    assert run(torch.jit.trace(model, x), x).equal(run(model, x))


@pytest.mark.parametrize("name", COMPILED)
def test_onnx(name, tmp_path):
    model, x = make(name, num_classes=3), images(name)
    model.train()(x)  # so that batch-normalisation statistics differ from their initial values
    assert_onnx_agrees(model.eval(), x, tmp_path)


@pytest.mark.parametrize(
    "arguments", [{"padding": "same"}, {"output_stride": 8}, {"norm_layer": "groupnorm", "act_layer": "silu"}]
)
def test_onnx_of_variants(arguments, tmp_path):
    model, x = make("googlenet", num_classes=3, **arguments), images("googlenet")
    assert_onnx_agrees(model.eval(), x, tmp_path)


def assert_onnx_agrees(model: iz.Net, x: torch.Tensor, folder: Path) -> None:
    """Export the model by torch's dynamo exporter, and compare it with the output of ONNX Runtime."""
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    program.save(folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    theirs = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    expected = run(model, x)
    assert (theirs - expected).abs().max() <= 1e-4 * expected.abs().max()
