"""Checkpoints of other programs: a model's tensors are found by the ends of their names, and the rest is named."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import inceptionzoo as iz
from inceptionzoo.models import vgg

State = dict[str, Tensor]
CONV, BIAS = "features.stem.conv.weight", "head.fc.bias"
ADAM = {"state": {index: {"step": torch.tensor(9.0), "exp_avg": torch.zeros(3)} for index in range(4)}, "param_groups": [{}]}


def shifted(model: nn.Module, by: float = 1.0) -> State:
    """Return a state dict of other values, which shares no memory with the model's."""
    return {key: value + by if value.is_floating_point() else value + 3 for key, value in model.state_dict().items()}


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def wrapped_stage(state: State) -> State:
    """Return the names that the state dict has if a stage is wrapped, as PyTorch's ImageNet example wraps VGG's."""
    return {key.replace("features.", "features.module."): value for key, value in state.items()}


# {program: (function from the state dict to its checkpoint, taken, dropped, left over)}
CHECKPOINTS: dict[str, tuple[Any, str, list[str], list[str]]] = {
    "PyTorch's tutorial": (
        lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": ADAM, "loss": 0.4},
        "model_state_dict",
        [],
        ["epoch", "loss", "optimizer_state_dict (8 tensors)"],
    ),
    "Lightning, a loss with weights": (
        lambda s: {"state_dict": under("net.", s) | {"loss.weight": torch.ones(2)}, "optimizer_states": [ADAM]},
        "state_dict.net.*",
        ["loss.weight"],
        ["optimizer_states"],
    ),
    "Lightning, a compiled model": (lambda s: {"state_dict": under("model._orig_mod.", s)}, "state_dict.model.*", [], []),
    "AveragedModel": (lambda s: under("module.", s) | {"n_averaged": torch.tensor(5)}, "", ["n_averaged"], []),
    "DataParallel of a compiled model": (lambda s: under("module._orig_mod.", s), "", [], []),
    "DataParallel of a stage": (wrapped_stage, "", [], []),
    "DataParallel of some parts": (
        lambda s: {f"module.{key}" if "stem" not in key else key: value for key, value in s.items()},
        "",
        [],
        [],
    ),
    "a wrapped stage in DataParallel": (
        lambda s: under("module.", wrapped_stage(s)) | {"n_averaged": torch.tensor(5)},
        "",
        ["n_averaged"],
        [],
    ),
    "FSDP": (lambda s: {"model": under("_fsdp_wrapped_module.", s)}, "model", [], []),
    "MMCV": (lambda s: {"meta": {"epoch": 1}, "state_dict": under("backbone.", s)}, "state_dict.backbone.*", [], ["meta"]),
    "fastai": (lambda s: {"model": s, "opt": ADAM}, "model", [], ["opt (8 tensors)"]),
    "DeepSpeed": (lambda s: {"module": s, "ds_version": "1"}, "module", [], ["ds_version"]),
    "an encoder of a segmentation model": (
        lambda s: {"net": {"weights": under("a.encoder.model.", s) | {"a.decoder.weight": torch.ones(2)}}, "ema": None},
        "net.weights.a.encoder.model.*",
        ["a.decoder.weight"],
        ["ema"],
    ),
    "a state dict with other entries": (
        lambda s: {**s, "version": 3, "more": {"a": torch.ones(1)}},
        "",
        [],
        ["version", "more (1 tensor)"],
    ),
    "timm, averaged": (
        lambda s: {"state_dict": {key: value * 0 for key, value in s.items()}, "state_dict_ema": s},
        "state_dict_ema",
        [],
        ["state_dict (50 tensors)"],
    ),
    "Lightning, averaged": (
        lambda s: {
            "state_dict": under("model.", s),
            "current_model_state": under("model.", {key: value * 0 for key, value in s.items()}),
        },
        "state_dict.model.*",
        [],
        ["current_model_state (50 tensors)"],
    ),
    "averaged, in capitals": (
        lambda s: {"model": {key: value * 0 for key, value in s.items()}, "EMA": s},
        "EMA",
        [],
        ["model (50 tensors)"],
    ),
    "models in a list": (lambda s: {"folds": [s], "scores": [0.9]}, "folds.0", [], ["scores"]),
    "thop": (
        lambda s: s | {"total_ops": torch.ones(1), "features.stem.conv.total_params": torch.ones(1)},
        "",
        ["total_ops", "features.stem.conv.total_params"],
        [],
    ),
    "averaged beside the model": (
        lambda s: {"w": under("net.", {BIAS: s[BIAS] * 0}) | under("ema_net.module.", s)},
        "w.ema_net.*",
        [f"net.{BIAS}"],
        [],
    ),
    "the same model twice": (lambda s: {"state_dict": s, "best": dict(s)}, "state_dict", [], ["best (50 tensors)"]),
}


@pytest.mark.parametrize("through", ["dict", "pth", "create"])
@pytest.mark.parametrize("program", CHECKPOINTS)
def test_a_checkpoint_is_read_and_the_rest_is_named(tmp_path, tiny, program, through):
    make, taken, dropped, left_over = CHECKPOINTS[program]
    wanted = shifted(tiny)
    source = make(wanted)
    if through == "pth":
        torch.save(source, tmp_path / "a.pth")
        source = tmp_path / "a.pth"
    model = tiny if through != "create" else iz.create_model("tiny", weights=source)
    report = iz.load_weights(model, source) if through != "create" else model.report
    assert all(value.equal(wanted[key]) for key, value in model.state_dict().items())
    assert (report.taken, report.dropped, report.left_over) == (taken, dropped, left_over)
    assert all(name in str(report) for name in (taken, *dropped, *left_over))


def test_a_file_may_hold_a_tuple(tmp_path, tiny):
    wanted = shifted(tiny)
    torch.save((wanted, {"epoch": 3}), tmp_path / "a.pth")
    report = iz.load_weights(tiny, tmp_path / "a.pth")
    assert (report.taken, report.left_over) == ("0", ["1"])
    assert all(value.equal(wanted[key]) for key, value in tiny.state_dict().items())


def test_ema_pytorch_keeps_the_model_beside_its_average(tiny):
    wanted = shifted(tiny)
    names = under("ema_model.", wanted) | under("online_model.", shifted(tiny, 2.0))
    for checkpoint in ({"ema": names}, names):
        assert iz.load_weights(tiny, checkpoint).taken.endswith("ema_model.*")
        assert all(value.equal(wanted[key]) for key, value in tiny.state_dict().items())


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_files_of_other_programs_have_prefixes_too(tmp_path, tiny, name):
    state = under("vision.model.", shifted(tiny))
    save = safetensors.torch.save_file if name.endswith("safetensors") else torch.save
    save(state, tmp_path / name)
    assert iz.load_weights(tiny, tmp_path / name).taken == "vision.model.*"
    assert tiny.head.fc.bias.equal(state[f"vision.model.{BIAS}"])


@pytest.mark.parametrize("change", [lambda s: under("encoder.", s), lambda s: {"net": {"model": s}}, wrapped_stage])
def test_other_layouts_have_prefixes_too(register, change):
    """The sizes and the head are found under the prefix as well."""
    net = iz.network({"conv1_1": iz.Conv(4, 3)}, head=iz.Head("mlp", hidden=(8, 6), size=1), style=iz.Style(bias=True))
    register("small_vgg", net, layouts=vgg.layouts(net), num_classes=3)
    wanted = shifted(iz.create_model("small_vgg", num_classes=2, in_chans=1))
    layout = vgg.layouts(net)[0]
    theirs = {layout.theirs(key): value for key, value in wanted.items()}
    model = iz.create_model("small_vgg", weights=change(theirs))
    assert (model.num_classes, model.in_chans, model.report.layout) == (2, 1, "torchvision")
    assert all(value.equal(wanted[key]) for key, value in model.state_dict().items())


class Frozen(Mapping[str, Any]):
    """A mapping that is not a dict."""

    def __init__(self, items: dict[str, Any]) -> None:
        self.items_ = items

    def __getitem__(self, key: str) -> Any:
        return self.items_[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_)

    def __len__(self) -> int:
        return len(self.items_)


@pytest.mark.parametrize("wrap", [Frozen, lambda s: Frozen({"net": Frozen(s)}), lambda s: {"net": Frozen(s)}])
def test_a_mapping_need_not_be_a_dict(tiny, wrap):
    wanted = shifted(tiny)
    iz.load_weights(tiny, wrap(wanted))
    assert all(value.equal(wanted[key]) for key, value in tiny.state_dict().items())


# {case: (function from two state dicts to a checkpoint, pattern of the error)}
REFUSED = {
    "student and teacher": (
        lambda a, b: under("student.", a) | under("teacher.", b),
        r"two sets of weights that fit the model and differ: 'student\.\*' and 'teacher\.\*'; pass the state dict of one",
    ),
    "two parts": (lambda a, b: {"model": a, "best": {"net": b}}, "differ: 'model' and 'best.net'; pass the state dict of one"),
    "two averages": (lambda a, b: {"model_ema": a, "swa_model": b}, "differ: 'model_ema' and 'swa_model'"),
    "an unknown tensor under the prefix": (
        lambda a, b: {"state_dict": under("model.", a | {"extra.bias": b[BIAS]})},
        r"the state dict, 'state_dict\.model\.\*': the names match no known layout; 50 of the model's 50 are there in the "
        r"layout 'inceptionzoo'; nearest: inceptionzoo: none missing, 1 unknown \(extra\.bias\)",
    ),
    "a missing tensor": (
        lambda a, b: {"state": {key: value for key, value in a.items() if key != CONV}, "optimizer": b[BIAS]},
        rf"'state': .* 49 of the model's 50 are there .* 1 missing \({CONV}\), none unknown",
    ),
    "no tensor of the model": (
        lambda a, b: {"model": {"a": a[CONV]}, "step": 1},
        rf"no tensor has a name of this model; use weights .* with names such as {CONV}; the names there are a$",
    ),
    "a name twice": (
        lambda a, b: {"net": a | under("module.", {BIAS: b[BIAS]})},
        f"'{BIAS}' appears twice without its prefixes",
    ),
    "not a tensor": (lambda a, b: {"net": a | {BIAS: [1.0]}, "more": 1}, f"'{BIAS}' is a list, not a tensor; pass"),
    "a key that is no string": (lambda a, b: {"net": a | {3: b[BIAS]}}, "key 3 must be a str, the name of a tensor; pass"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_checkpoint_changes_nothing(tiny, case):
    make, text = REFUSED[case]
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    source = make(shifted(tiny, 1.0), shifted(tiny, 2.0))
    for call in (lambda: iz.load_weights(tiny, source), lambda: iz.create_model("tiny", weights=source)):
        with pytest.raises(iz.WeightsError, match=text):
            call()
    assert all(value.equal(before[key]) for key, value in tiny.state_dict().items())


def test_a_part_that_is_not_read_may_hold_anything(tiny):
    """Sparse and lazy tensors, numbered tensors and mappings in circles matter only among the model's own."""
    circle: dict[object, Any] = {3: torch.ones(1), "a": torch.ones(2).to_sparse(), "b": nn.UninitializedParameter()}
    circle |= {f"again{number}": circle for number in range(20)}
    wanted = shifted(tiny)
    report = iz.load_weights(tiny, {"weights": wanted, "optimizer": circle})
    assert report.left_over == ["optimizer (2 tensors)"]
    assert tiny.head.fc.bias.equal(wanted[BIAS])


class Segmentation(nn.Module):
    """A module of another library around an encoder."""

    def __init__(self, *encoders: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleDict({str(n): item for n, item in enumerate(encoders)}), nn.Conv2d(1, 1, 1)


def test_a_module_that_contains_one_model(tiny):
    wanted = shifted(tiny)
    for wrapper in (Segmentation(tiny), nn.DataParallel(tiny), torch.optim.swa_utils.AveragedModel(tiny)):
        report = iz.load_weights(wrapper, wanted)
        (inner,) = [module for module in wrapper.modules() if isinstance(module, iz.Net)]
        assert inner.report is report
        assert all(value.equal(wanted[key]) for key, value in inner.state_dict().items())
    whole = Segmentation(tiny)
    assert iz.load_weights(whole, whole.state_dict()).dropped == ["decoder.weight", "decoder.bias"]
    with pytest.raises(iz.ArgumentError, match=r"contains several models: 'encoder\.0', 'encoder\.1'; pass one"):
        iz.load_weights(Segmentation(tiny, iz.create_model("tiny")), wanted)
    with pytest.raises(iz.ArgumentError, match=r"weights of type Net must be a path or a state dict; pass its state_dict\(\)"):
        iz.load_weights(tiny, tiny)


def test_a_feature_network_drops_the_head_and_later_stages(tiny):
    maps = iz.create_model("tiny", features_only=True, out_indices=["stem"])
    wanted = shifted(tiny)
    report = iz.load_weights(maps, {"model": under("net.", wanted)})
    assert maps.report is report
    assert report.dropped == [key for key in wanted if not key.startswith("features.stem.")]
    assert all(value.equal(wanted[key]) for key, value in maps.state_dict().items())
    assert iz.load_weights(maps, maps.state_dict()) == iz.Report("inceptionzoo")
    made = iz.create_model("tiny", features_only=True, out_indices=["stem"], weights=wanted)
    assert sorted(made.report.dropped) == sorted(report.dropped)
    with pytest.raises(iz.MismatchError, match=r"none missing, 1 unknown \(features.other.weight\)"):
        iz.load_weights(maps, wanted | {"features.other.weight": torch.ones(1)})
    bare = iz.create_model("tiny", num_classes=0)
    assert iz.load_weights(bare, wanted).dropped == ["head.fc.weight", "head.fc.bias"]
    with pytest.raises(iz.MismatchError, match=r"1 unknown \(head.norm.weight\)"):
        iz.load_weights(iz.create_model("tiny"), wanted | {"head.norm.weight": torch.ones(1)})


HIDDEN = {"mlp": iz.Head("mlp", hidden=(8, 6), size=2), "conv": iz.Head("conv", hidden=(8, 6), size=2)}
HIDDEN |= {"embed": iz.Head("embed", hidden=(5,))}


@pytest.mark.parametrize("kind", HIDDEN)
def test_weights_without_the_layers_of_the_head(register, kind):
    """A file of the convolutions alone makes a model without a head, or with a new one that the report lists."""
    net = iz.network({"conv1_1": iz.Conv(4, 3)}, head=HIDDEN[kind], style=iz.Style(norm=None, bias=True))
    register("headed", net, layouts=vgg.layouts(net), num_classes=3)
    model, images = iz.create_model("headed").eval(), torch.randn(2, 3, 8, 8)
    theirs = {"features.0.weight": torch.ones(4, 3, 3, 3), "features.0.bias": torch.ones(4)}
    maps = iz.create_model("headed", weights=theirs, features_only=True)
    bare = iz.create_model("headed", weights=theirs)
    assert (bare.num_classes, bare.global_pool, bare(images).shape) == (0, "", (2, 4, 8, 8))
    assert maps(images)[-1].equal(bare(images))
    new = iz.create_model("headed", weights=theirs, num_classes=5)
    head = [key for key in new.state_dict() if key.startswith("head.")]
    assert new(images).shape == (2, 5)
    assert set(new.report.left_random) == {name for name, _ in new.named_parameters() if name in head}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(iz.MismatchError, match="these weights have no head: pass new_head=True"):
        iz.load_weights(model, theirs)
    assert iz.load_weights(model, theirs, new_head=True).left_random == [key for key in before if key.startswith("head.")]
    assert all(value.equal(before[key]) for key, value in model.head.state_dict(prefix="head.").items())
    assert model.features.conv1_1.conv.weight.eq(1).all()
    empty = iz.create_model("headed", device="meta")
    iz.load_weights(empty, theirs, new_head=True)
    assert not any(value.is_meta for value in empty.state_dict().values())
    assert empty.eval()(images).isfinite().all()
    assert iz.load_weights(maps, theirs).dropped == []
