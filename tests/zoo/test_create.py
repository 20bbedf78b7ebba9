"""create_model: arguments, sizes from files, and the time of imports."""

import re
import subprocess
import sys

import numpy
import pytest
import torch
import torchvision
from torch import nn

import inceptionzoo as iz
from inceptionzoo.nn import _blocks as blocks
from inceptionzoo.zoo._registry import REGISTRY

BAD = [
    ({"num_classes": -1}, "num_classes=-1 must be an int from 0 to 2147483647"),
    ({"num_classes": "2"}, "num_classes='2' must be an int"),
    ({"num_classes": True}, "num_classes=True"),
    ({"num_classes": 2.0}, "num_classes=2.0"),
    ({"in_chans": 0}, "in_chans=0 must be an int from 1 to"),
    ({"in_chans": "rgb"}, "in_chans='rgb'"),
    ({"global_pool": "average"}, "global_pool='average' must be one of 'avg'"),
    ({"global_pool": ""}, "needs num_classes=0"),
    ({"drop_rate": 1}, "drop_rate=1 must be a number with 0 <= drop_rate < 1"),
    ({"drop_rate": "half"}, "drop_rate='half'"),
    ({"device": "gpu"}, "device='gpu' must be a torch device"),
    ({"dtype": torch.int64}, "dtype=torch.int64 must be a floating-point"),
    ({"num_clases": 2}, "unknown keyword 'num_clases' for 'googlenet'; did you mean 'num_classes'?"),
    ({"head": "conv"}, "unknown keyword 'head'"),
    ({"input_size": 64}, "unknown keyword 'input_size' for 'googlenet'; use model.set_input_size(64). It takes"),
    ({"img_size": 64}, "; use model.set_input_size(64). It takes"),
    ({"aux_logits": True}, "; use with_aux(model). It takes"),
    ({"transform_input": True}, "; use model.data, which holds the mean and the standard deviation. It takes"),
    ({"dropout": 0.2}, "; use drop_rate=0.5. It takes"),
    ({"class_names": ["a", "b"]}, "; use model.set_class_names(names). It takes"),
    ({"checkpoint_path": "a.pth"}, "; use weights=FILE. It takes"),
    ({"five": 4}, "five=4 must be one of 5, 3"),
    ({"pools": "cell"}, "pools='cell' must be one of 'ceil', 'valid'; did you mean 'ceil'?"),
    ({"weights": 7}, "weights of type int must be a path or a state dict"),
    ({"weights": True}, "must be a path or a state dict; create_model(..., pretrained=True) takes the published weights"),
    (
        {"weights": torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1},
        "weights of type GoogLeNet_Weights must be a path or a state dict; pass its get_state_dict(), or to create_model pretr",
    ),
]


@pytest.mark.parametrize(("arguments", "text"), BAD)
def test_bad_arguments_are_refused_before_anything_is_allocated(monkeypatch, arguments, text):
    def no_module(*args: object) -> None:
        raise AssertionError("a module was made")

    monkeypatch.setattr(blocks.ConvNormAct, "__init__", no_module)
    with pytest.raises(iz.ArgumentError) as error:
        iz.create_model("googlenet", **arguments)
    assert text in str(error.value)


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "imagenet"])
def test_names_of_other_libraries_weights_are_answered_with_pretrained(weights):
    with pytest.raises(iz.FileError, match=f"weights='{weights}' is not a file; pretrained=True loads published weights"):
        iz.create_model("googlenet", weights=weights)


def test_load_model_of_a_models_name_is_answered_with_create_model():
    with pytest.raises(iz.FileError, match=r"googlenet is a model and not a file; use create_model\('googlenet'\)"):
        iz.load_model("googlenet")


@pytest.mark.parametrize("integer", [numpy.int64, numpy.uint8, torch.tensor, numpy.array])
def test_integers_of_other_libraries_become_ints(integer):
    model = iz.create_model(
        "inception_resnet_v1", num_classes=integer(2), in_chans=integer(1), bottleneck=integer(8), device="meta"
    )
    assert [type(value) for value in (model.num_classes, model.in_chans, model.arguments["bottleneck"])] == [int] * 3
    assert (model.num_classes, model.in_chans, model.arguments["bottleneck"]) == (2, 1, 8)


@pytest.mark.parametrize("value", [numpy.bool_(True), numpy.float64(2), torch.tensor(2.0), torch.tensor([1, 2])])
def test_other_values_of_other_libraries_are_refused(value):
    with pytest.raises(iz.ArgumentError, match=r"num_classes=.* must be an int"):
        iz.create_model("googlenet", num_classes=value, device="meta")


def test_head_of_vgg():
    with pytest.raises(iz.ArgumentError, match=r"head='mpl' must be one of 'mlp', 'conv', 'pool'; did you mean 'mlp'\?"):
        iz.create_model("vgg16", head="mpl")
    sizes = {head: params(iz.create_model("vgg16", head=head, device="meta")) for head in ("mlp", "conv", "pool")}
    assert sizes["mlp"] == sizes["conv"] == 138_357_544
    assert sizes["pool"] == 138_357_544 - 123_642_856 + 513_000


def params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_device_dtype_and_drop_rate():
    model = iz.create_model("googlenet_cifar", dtype=torch.bfloat16, drop_rate=0.5)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.head.drop.p == 0.5
    assert iz.create_model("googlenet", device="meta").head.drop.p == 0.2
    assert iz.create_model("googlenet_paper", device="meta").head.drop.p == 0.4
    assert iz.create_model("vgg16", device="meta").head.drop.p == 0.5
    assert next(iz.create_model("googlenet", device=torch.device("meta")).parameters()).is_meta


def test_the_same_seed_gives_the_same_weights():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in iz.create_model("googlenet", num_classes=2).parameters()])

    assert weights(1).equal(weights(1))
    assert not weights(1).equal(weights(2))


def test_a_file_gives_the_sizes_and_another_number_of_classes_a_new_head(tmp_path):
    path = tmp_path / "three.safetensors"
    trained = iz.create_model("googlenet", num_classes=3, in_chans=1, five=5, global_pool="max", drop_rate=0.1)
    trained.set_input_size(96)
    iz.save_weights(trained, path, class_names=["a", "b", "c"])
    same = iz.create_model("googlenet", weights=path)
    assert (same.num_classes, same.in_chans, same.global_pool, same.head.drop.p) == (3, 1, "max", 0.1)
    assert (same.class_names, same.data.input_size, same.arguments) == (("a", "b", "c"), (1, 96, 96), {"five": 5})
    assert all(a.equal(b) for a, b in zip(same.state_dict().values(), trained.state_dict().values(), strict=True))
    assert not same.report.replaced
    other = iz.create_model("googlenet", weights=path, num_classes=2)
    assert other.report.replaced == other.report.left_random == ["head.fc.weight", "head.fc.bias"]
    assert (other.num_classes, other.class_names) == (2, None)
    assert other.features.inception5b.branch1.conv.weight.equal(trained.features.inception5b.branch1.conv.weight)
    assert other.head.fc.weight.std().item() == pytest.approx(0.01, rel=0.2)
    none = iz.create_model("googlenet", weights=path, num_classes=0)
    assert none.report.dropped == ["head.fc.weight", "head.fc.bias"]
    assert not none.report.left_random
    assert none(torch.randn(2, 1, 64, 64)).shape == (2, 1024)
    wide = iz.create_model("googlenet", weights=path, global_pool="catavgmax")
    assert wide.head.fc.in_features == 2048
    assert wide.report.left_random


def test_a_file_of_another_architecture_is_refused(tmp_path):
    path = tmp_path / "cifar.safetensors"
    iz.save_weights(iz.create_model("googlenet_cifar"), path)
    with pytest.raises(iz.MismatchError, match=r"holds 'googlenet_cifar', not 'googlenet'; use load_model"):
        iz.create_model("googlenet", weights=path)


def watching(real, drawn):
    def draw(tensor, *args, **kwargs):
        drawn.append(tensor.shape)
        return real(tensor, *args, **kwargs)

    return draw


def test_weights_from_a_file_are_not_initialised_first(tmp_path, monkeypatch):
    path = tmp_path / "vgg.safetensors"
    iz.save_weights(iz.create_model("vgg11_bn_cifar"), path)
    drawn = []
    for name in ("kaiming_normal_", "normal_", "uniform_", "kaiming_uniform_"):
        real = getattr(nn.init, name)
        monkeypatch.setattr(nn.init, name, watching(real, drawn))
    iz.load_model(path)
    iz.create_model("vgg11_bn_cifar", weights=path)
    assert not drawn
    model = iz.create_model("vgg11_bn_cifar", weights=None)
    assert len(drawn) == sum(p.ndim > 1 for p in model.parameters())  # each weight is drawn once, by this library only


class Squeeze(nn.Module):
    """A user's module with a buffer that is not saved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Linear(channels, channels)
        self.register_buffer("shift", torch.full((1,), 0.5), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.gate(x.mean((2, 3))).sigmoid() + self.shift)[..., None, None]


def test_a_users_own_module_is_built_saved_and_loaded(tmp_path):
    network = iz.network(conv1=iz.Conv(8, 3, 2), gate=iz.Op(Squeeze, 8))
    iz.register_model("squeezed", network, num_classes=2)
    try:
        model, x = iz.create_model("squeezed").eval(), torch.randn(2, 3, 16, 16)
        assert not iz.model_info("squeezed").complete
        iz.save_weights(model, tmp_path / "s.safetensors")
        assert iz.load_model(tmp_path / "s.safetensors")(x).equal(model(x))
    finally:
        del REGISTRY["squeezed"]


HEAVY = ("timm", "torchvision", "huggingface_hub", "torchmetrics", "matplotlib", "PIL", "sklearn", "onnx")


def test_import_is_light():
    """Heavy packages are imported when they are used. torch imports none of them, so `sys.modules` shows who does."""
    code = "import sys, torch; print(*sys.modules); import inceptionzoo; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = (set(line.split()) for line in done.stdout.splitlines())
    assert "inceptionzoo.zoo" in after - before
    assert not before & set(HEAVY)
    assert not after & set(HEAVY)


def test_loading_a_file_does_without_torchs_compiler(tmp_path):
    """Drawing random numbers on the meta device would import torch's compiler, which takes longer than reading a file."""
    torch.save(iz.create_model("googlenet", num_classes=2).state_dict(), tmp_path / "g.pth")
    code = (
        "import sys, inceptionzoo as iz; from torch.nn import Conv2d; "
        f"model = iz.create_model('googlenet', weights={str(tmp_path / 'g.pth')!r}); model.reset_classifier(3); "
        "assert type(model.get_submodule('features.conv1.conv')) is Conv2d; "
        "sys.exit('torch._dynamo' in sys.modules or 'sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("call", [iz.create_model, iz.model_info])
@pytest.mark.parametrize("name", ["./mine.safetensors", "runs/best", "mine.pth", "runs\\best.pt", "mine.keras", "mine.h5"])
def test_a_path_in_place_of_a_name_is_refused_with_the_way_to_load_it(call, name):
    with pytest.raises(iz.UnknownModelError) as error:
        call(name)
    assert str(error.value).startswith(f"unknown model {name!r}, which looks like a path: load_model({name!r}) loads")


@pytest.mark.parametrize("name", ["https://huggingface.co/timm/inception_v3.tv_in1k", "https://example.org/a.pth"])
def test_a_url_in_place_of_a_name(name):
    remedy = "it is a URL, from which nothing is loaded; create_model('hf-hub:OWNER/NAME') loads a repository of the Hub, "
    with pytest.raises(iz.UnknownModelError) as error:
        iz.create_model(name)
    assert str(error.value).startswith(f"unknown model {name!r}: {remedy}")


@pytest.mark.parametrize("name", ["timm/inception_v3.tv_in1k", "hf_hub:timm/inception_v3.tv_in1k"])
def test_a_repository_without_its_prefix_is_refused_with_it(name):
    remedy = r"create_model\('hf-hub:timm/inception_v3.tv_in1k'\) a repository of the Hub, create_model\('local-dir:timm/"
    with pytest.raises(iz.UnknownModelError, match=remedy):
        iz.create_model(name)


def test_an_unknown_keyword_lists_each_known_one_once():
    for make in (lambda: iz.create_model("inception_v4", pading="same"), lambda: iz.build(iz.Conv(3), epsilon=1e-5)):
        with pytest.raises(iz.KeywordError) as error:
            make()
        names = str(error.value).partition("It takes ")[2].split(", ")
        assert len(names) == len(set(names)) > 3
        assert isinstance(error.value, TypeError)
        assert isinstance(error.value, iz.ArgumentError)


def test_weights_with_an_embedding_of_another_width(tmp_path):
    state = iz.create_model("inception_resnet_v1", num_classes=2, bottleneck=128).state_dict()
    for name in ("inception_resnet_v1", "inception_resnet_v1.vggface2"):
        with pytest.raises(iz.MismatchError, match="its embedding has 128 values, the model's 512; pass bottleneck=128"):
            iz.create_model(name, weights=state)
    assert iz.create_model("inception_resnet_v1", weights=state, bottleneck=128).num_classes == 2


def test_published_weights_that_are_too_few(tmp_path):
    state = iz.create_model("googlenet_cifar").state_dict()
    with pytest.raises(iz.MismatchError) as error:
        iz.create_model("googlenet.tv_in1k", weights=state)
    assert re.search(
        r"is for a model of 6,624,904 parameters and holds [\d,]+ values; use weights of this model", str(error.value)
    )


@pytest.mark.usefixtures("tiny")
def test_the_dtype_of_a_loaded_model(tmp_path):
    model, path = iz.create_model("tiny", dtype=torch.float64).eval(), tmp_path / "a.safetensors"
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    iz.save_weights(model, path)
    assert iz.load_model(path, dtype=torch.float64)(x).equal(model(x))
    assert next(iz.load_model(path).parameters()).dtype == torch.float32
    with pytest.raises(iz.ArgumentError, match="dtype=torch.int8 must be a floating-point"):
        iz.load_model(path, dtype=torch.int8)


@pytest.mark.usefixtures("tiny")
def test_torchs_default_device_holds_with_weights_too(tmp_path):
    iz.save_weights(iz.create_model("tiny"), tmp_path / "a.safetensors")
    with torch.device("meta"):
        assert next(iz.create_model("tiny").parameters()).is_meta
        assert next(iz.create_model("tiny", weights=tmp_path / "a.safetensors").parameters()).is_meta
        assert next(iz.load_model(tmp_path / "a.safetensors").parameters()).is_meta
        assert not next(iz.load_model(tmp_path / "a.safetensors", device="cpu").parameters()).is_meta
