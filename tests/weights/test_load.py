"""Loading: completely or not at all, from every layout, with a report of what was done."""

import re
import signal

import pytest
import timm.layers
import timm.models.vgg
import torch
import torchvision
from torch import nn

import inceptionzoo as iz
from inceptionzoo.models import vgg
from inceptionzoo.weights._export import exported_state_dict
from inceptionzoo.weights._layout import match_layout
from inceptionzoo.zoo._registry import REGISTRY

CONV, BIAS, VAR = "features.stem.conv.weight", "head.fc.bias", "features.stem.bn.running_var"
COUNT = "features.stem.bn.num_batches_tracked"
State = dict[str, torch.Tensor]


def bits(state: State) -> dict[str, tuple[object, ...]]:
    return {
        key: (value.dtype, value.shape, value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        for key, value in state.items()
    }


def changed(model: iz.Net, by: float = 1.0) -> State:
    """Return a state dict of other values, which shares no memory with the model's."""
    return {key: value + by if value.is_floating_point() else value + 3 for key, value in model.state_dict().items()}


def without(state: State, part: str) -> State:
    return {key: value for key, value in state.items() if part not in key}


def put(state: State, key: str, value: float) -> State:
    state[key].view(-1)[-1] = value
    return state


def renamed(state: State, old: str, new: str) -> State:
    return {key.replace(old, new): value for key, value in state.items()}


# {case: (function from a good state dict to a faulty one, pattern of the error)}
MISMATCHES = {
    "missing key": (lambda s: without(s, BIAS), r"no known layout.*1 missing \(head.fc.bias\), none unknown"),
    "extra key": (lambda s: s | {"more": s[BIAS]}, r"no known layout.*none missing, 1 unknown \(more\)"),
    "wrong shape": (lambda s: s | {CONV: torch.zeros(4, 3, 5, 5)}, r"shape \(4, 3, 5, 5\) must be \(4, 3, 3, 3\)"),
    "same count": (lambda s: s | {CONV: torch.zeros(3, 4, 3, 3)}, r"shape \(3, 4, 3, 3\) must be \(4, 3, 3, 3\)"),
    "int8": (lambda s: s | {CONV: s[CONV].to(torch.int8)}, "dtype torch.int8 must be torch.float32; cast"),
    "complex": (lambda s: s | {CONV: s[CONV] + 0j}, "dtype torch.complex64 must be torch.float32; cast"),
    "float counter": (lambda s: s | {COUNT: torch.tensor(1.0)}, "dtype torch.float32 must be torch.int64; cast"),
    "NaN": (lambda s: put(s, CONV, float("nan")), f"{CONV}: all values must be finite .minimum nan"),
    "inf": (lambda s: put(s, BIAS, float("-inf")), f"{BIAS}: all values must be finite .minimum -inf"),
    "negative variance": (lambda s: put(s, VAR, -0.5), f"{VAR}: no value may be negative .minimum -0.5"),
    "negative counter": (lambda s: put(s, COUNT, -1), f"{COUNT}: no value may be negative .minimum -1"),
    "expanded": (lambda s: s | {CONV: torch.zeros(1).expand(4, 3, 3, 3)}, "expanded tensor.; save it contiguous"),
    "sparse": (lambda s: s | {CONV: s[CONV].to_sparse()}, "plain dense tensor with values, not of layout torch.sparse_coo"),
    "lazy": (lambda s: s | {CONV: torch.nn.UninitializedParameter()}, "plain dense tensor with values"),
    "meta": (lambda s: s | {CONV: s[CONV].to("meta")}, "plain dense tensor with values, not .* on the meta device"),
    "other head": (lambda s: s | {BIAS: torch.zeros(7)}, r"\(7,\) must be .*\(3,\); pass new_head=True"),
    "other width": (lambda s: s | {"head.fc.weight": torch.zeros(3, 9)}, r"\(3, 9\) must be .*\(3, 8\)"),
    "other names": (lambda s: renamed(s, ".", "/"), "no tensor has a name of this model; use weights of the same architecture"),
    "prefix on some": (lambda s: s | {"module." + BIAS: s[BIAS]}, f"'{BIAS}' appears twice without its prefixes"),
}
OTHERS = {
    "empty": (lambda s: {}, "holds no state dict: a mapping of names to tensors"),
    "empty inside": (lambda s: {"net": {}}, "holds no state dict: a mapping of names to tensors"),
    "not a tensor": (lambda s: s | {BIAS: [1.0]}, f"'{BIAS}' is a list, not a tensor; pass the state dict alone"),
    "key not a string": (lambda s: s | {3: s[BIAS]}, r"\b3\b.* str"),
    "not a dict": (lambda s: [*s.items()], "weights of type list must be a path or a state dict"),
    "None": (lambda s: None, "weights of type NoneType must be a path or a state dict"),
    "missing file": (
        lambda s: "none.pth",
        r"none.pth is not a file; give the path of a .safetensors, .pth, .keras or .h5 file",
    ),
}
REMEDY = re.compile(r"\b(use|pass|cast|save|load|take|give|train|download|rename|remove|mend|convert|keep)\b")


@pytest.mark.parametrize("fault", [*MISMATCHES, *OTHERS])
def test_a_failed_load_changes_nothing(tiny, fault):
    make, text = (MISMATCHES | OTHERS)[fault]
    before = bits(tiny.state_dict())
    with pytest.raises(iz.ZooError, match=text) as caught:
        iz.load_weights(tiny, make(changed(tiny)))
    family = iz.MismatchError if fault in MISMATCHES else iz.ArgumentError if "weights of" in text else iz.FileError
    assert type(caught.value) is family
    assert bits(tiny.state_dict()) == before
    assert tiny.report is None


@pytest.mark.parametrize(("make", "text"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_mismatch_names_a_remedy(tiny, make, text):
    with pytest.raises(iz.MismatchError, match=REMEDY):
        iz.load_weights(tiny, make(changed(tiny)))


def test_overflow_and_foreign_files_change_nothing(tmp_path, tiny, register):
    register("other", iz.network(stem=iz.Conv(4, 3)), num_classes=3)
    iz.save_weights(iz.create_model("other"), tmp_path / "other.safetensors")
    half = iz.create_model("tiny", dtype=torch.float16)
    before = bits(half.state_dict())
    with pytest.raises(iz.MismatchError, match=f"{CONV}: all values must be finite .*maximum inf"):
        iz.load_weights(half, put(changed(tiny), CONV, 1e6))
    with pytest.raises(iz.MismatchError, match=r"holds 'other', the model is 'tiny'; use load_model\(path\)"):
        iz.load_weights(half, tmp_path / "other.safetensors")
    with pytest.raises(iz.MismatchError, match=r"holds 'other', not 'tiny'; use load_model\(path\)"):
        iz.create_model("tiny", weights=tmp_path / "other.safetensors")
    with pytest.raises(iz.ArgumentError, match="model is a Linear; load_weights takes a model of create_model"):
        iz.load_weights(torch.nn.Linear(1, 1), {})
    assert bits(half.state_dict()) == before


class Counting(nn.Linear):
    """A layer with a state that is no tensor."""

    def get_extra_state(self) -> int:
        return 1


UNSETTABLE = {
    "lazy": (lambda model: setattr(model.head, "fc", nn.LazyLinear(3)), "head.fc.weight is an UninitializedParameter"),
    "expanded": (
        lambda model: setattr(model.head.fc, "bias", nn.Parameter(torch.zeros(1).expand(3))),
        "head.fc.bias is an expanded tensor",
    ),
    "sparse": (
        lambda model: setattr(model.head.fc, "weight", nn.Parameter(model.head.fc.weight.detach().to_sparse())),
        "head.fc.weight is of layout torch.sparse_coo",
    ),
    "no tensor": (lambda model: setattr(model.head, "fc", Counting(8, 3)), "head.fc._extra_state is an int"),
}


@pytest.mark.parametrize("case", UNSETTABLE)
def test_a_model_into_which_some_values_cannot_be_copied_is_unchanged(case, tiny):
    """torch copies the others before it raises an error."""
    change, text = UNSETTABLE[case]
    theirs, before = changed(tiny), bits(tiny.features.state_dict())
    change(tiny)
    with pytest.raises(iz.ArgumentError, match=f"the model's {text}: no values can be copied into it; load .* into a new"):
        iz.load_weights(tiny, theirs)
    assert bits(tiny.features.state_dict()) == before


def test_a_model_of_inference_mode_is_loaded_in_it_only(tiny):
    with torch.inference_mode():
        model = iz.create_model("tiny")
    with pytest.raises(iz.ArgumentError, match=r"is an inference tensor: .*outside of torch.inference_mode\(\)"):
        iz.load_weights(model, changed(tiny))
    with torch.inference_mode():
        iz.load_weights(model, changed(tiny))
    assert model.head.fc.bias.equal(changed(tiny)["head.fc.bias"])


def test_a_sharded_model_is_unchanged(sharded):
    theirs = {key: getattr(value, "full_tensor", lambda v=value: v)() + 1 for key, value in sharded.state_dict().items()}
    before = sharded.features.stem.bn.running_mean.clone()
    with pytest.raises(iz.ArgumentError, match=r"is a DTensor: .* then change that \(fully_shard"):
        iz.load_weights(sharded, theirs)
    assert sharded.features.stem.bn.running_mean.equal(before)
    with pytest.raises(iz.MismatchError, match=r"not a DTensor; call full_tensor\(\) on it"):
        iz.load_weights(iz.create_model("tiny"), sharded.state_dict())


def test_a_tensor_of_two_names_gets_one_value(tiny):
    theirs = changed(tiny)
    stem = tiny.features.stem.bn
    stem.bias = stem.weight
    with pytest.raises(iz.MismatchError, match=r"'features.stem.bn.weight' and 'features.stem.bn.bias' differ and are one"):
        iz.load_weights(tiny, theirs)
    assert not stem.weight.equal(theirs["features.stem.bn.weight"])
    theirs["features.stem.bn.bias"] = theirs["features.stem.bn.weight"]
    iz.load_weights(tiny, theirs)
    assert stem.bias is stem.weight
    assert stem.weight.equal(theirs["features.stem.bn.weight"])


def test_a_head_on_the_meta_device_leaves_the_other_tensors_in_their_place(tiny):
    """An optimizer may hold them; and they may be on another device than the weights."""
    tiny.to(memory_format=torch.channels_last)
    tiny.head.fc = nn.Linear(8, 3, device="meta")
    kernel, theirs = tiny.features.stem.conv.weight, changed(iz.create_model("tiny"))
    iz.load_weights(tiny, theirs)
    assert tiny.features.stem.conv.weight is kernel
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert bits(tiny.state_dict()) == bits(theirs)


def test_frozen_batch_normalisation_has_no_counters(tiny):
    theirs = changed(tiny)
    timm.layers.freeze_batch_norm_2d(tiny)
    report = iz.load_weights(tiny, theirs)
    assert report.dropped == [key for key in theirs if "num_batches_tracked" in key]
    assert bits(tiny.state_dict()) == bits(without(theirs, "num_batches_tracked"))


def test_a_mapping_inside_itself_ends(tiny):
    source: dict[str, object] = {}
    source["model"] = source
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("it never ends")))
    signal.alarm(10)
    try:
        with pytest.raises(iz.FileError, match="the state dict"):
            iz.load_weights(tiny, source)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


WRAPPERS = {
    "net": lambda s: {"net": s, "acc": 93.1, "epoch": 7},
    "state_dict": lambda s: {"state_dict": s, "optimizer": {"lr": 0.1}},
    "model": lambda s: {"model": s, "args": None},
    "nested": lambda s: {"model": {"state_dict": {f"module._orig_mod.module.{key}": value for key, value in s.items()}}},
    "module.": lambda s: {f"module.{key}": value for key, value in s.items()},
    "_orig_mod.": lambda s: {f"_orig_mod.{key}": value for key, value in s.items()},
    "Lightning": lambda s: {"state_dict": {f"model.{key}": value for key, value in s.items()}, "global_step": 3},
    "timm": lambda s: {
        "arch": "tiny",
        "state_dict": {key: value + 1 for key, value in s.items()},
        "state_dict_ema": s,
        "epoch": 1,
    },
}
TAKEN = {"net": "net", "nested": "model.state_dict", "Lightning": "state_dict.model.*", "timm": "state_dict_ema"}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("through", ["dict", "file", "create"])
def test_wrappers_and_prefixes_are_removed(tmp_path, tiny, name, through):
    source, wanted = WRAPPERS[name](changed(tiny)), bits(changed(tiny))
    if through == "file":
        torch.save(source, tmp_path / "a.pth")
        source = tmp_path / "a.pth"
    report = iz.load_weights(tiny, source)
    model = iz.create_model("tiny", weights=source) if through == "create" else tiny
    assert bits(model.state_dict()) == wanted
    assert report == iz.Report("inceptionzoo")
    assert report.taken == TAKEN.get(name, report.taken)
    assert (f"taken: {report.taken}" in str(report)) == bool(report.taken)


def test_weights_without_a_head(tiny):
    """They make a model without a head, or with a new one if classes are requested; the report lists it."""
    theirs = without(changed(tiny), "head.fc.")
    bare = iz.create_model("tiny", weights=theirs)
    assert (bare.num_classes, bare.report.left_random) == (0, [])
    assert bits(bare.state_dict()) == bits(theirs)
    other = iz.create_model("tiny", weights=theirs, num_classes=5)
    assert other.num_classes == 5
    assert other.report.left_random == other.report.replaced == ["head.fc.weight", "head.fc.bias"]
    before = bits(tiny.state_dict())
    with pytest.raises(iz.MismatchError, match=r"2 missing \(head.fc.weight, head.fc.bias\)"):
        iz.load_weights(tiny, theirs)
    assert bits(tiny.state_dict()) == before
    report = iz.load_weights(tiny, theirs, new_head=True)
    assert report.left_random == ["head.fc.weight", "head.fc.bias"]
    assert bits(tiny.state_dict()) == before | bits(theirs)


@pytest.mark.parametrize("layout", ["inceptionzoo", "torchvision"])
def test_weights_with_a_head_of_other_layers(layout):
    """Fine-tuned models often have an nn.Sequential in the place of their classifier."""
    model = iz.create_model("googlenet", num_classes=2)
    theirs = changed(model) if layout == "inceptionzoo" else exported_state_dict(model, layout)
    theirs = {re.sub(r"^((head\.)?fc)\.", r"\1.1.", name): value for name, value in theirs.items()}
    before = bits(model.state_dict())
    with pytest.raises(iz.MismatchError, match=r"these weights have another head: pass new_head=True .*num_classes=N\)"):
        iz.load_weights(model, theirs)
    assert bits(model.state_dict()) == before
    report = iz.load_weights(model, theirs, new_head=True)
    assert (report.layout, report.left_random) == (layout, ["head.fc.weight", "head.fc.bias"])
    assert sorted(name.rpartition("fc.")[2] for name in report.dropped) == ["1.bias", "1.weight"]


@pytest.mark.parametrize("in_chans", [1, 2, 4, 6, 7])
def test_another_number_of_input_channels_follows_timms_rule(tiny, in_chans):
    theirs = changed(tiny)
    wanted = timm.models.adapt_input_conv(in_chans, theirs[CONV])
    model = iz.create_model("tiny", in_chans=in_chans)
    report = iz.load_weights(model, theirs)
    made = iz.create_model("tiny", weights=theirs, in_chans=in_chans)
    for loaded, got in ((report, model), (made.report, made)):
        assert loaded.adapted == {CONV: f"in_chans 3 to {in_chans}"}
        torch.testing.assert_close(got.state_dict()[CONV], wanted)
        assert bits(without(got.state_dict(), CONV)) == bits(without(theirs, CONV))
    assert (made.in_chans, made.data.input_size[0], len(made.data.mean)) == (in_chans,) * 3
    with pytest.raises(iz.MismatchError, match=rf"\(4, {in_chans}, 3, 3\) must be \(4, 3, 3, 3\)"):
        iz.load_weights(tiny, model.state_dict())


@pytest.mark.parametrize("spatial_dims", [1, 2, 3])
def test_a_matrix_is_a_1x1_kernel(spatial_dims):
    """The file of Xception that FaceForensics starts from holds 1x1 convolutions as matrices."""
    network = iz.network(stem=iz.Conv(4, 3), point=iz.Conv(6), wide=iz.Conv(6, 3), spatial_dims=spatial_dims)
    model, key = iz.build(network), "features.point.conv.weight"
    state = changed(model)
    report = iz.load_weights(model, state | {key: state[key].flatten(1)})
    assert report.adapted == {key: "a matrix to a 1x1 kernel"}
    assert bits(model.state_dict()) == bits(state)
    before = bits(model.state_dict())
    for faulty in (state[key].flatten(1).T, state[key].flatten(1)[:, :3], state[key].flatten()):
        with pytest.raises(iz.MismatchError, match=rf"{key}: shape .* must be"):
            iz.load_weights(model, state | {key: faulty})
    with pytest.raises(iz.MismatchError, match="features.wide.conv.weight: shape"):
        iz.load_weights(model, state | {"features.wide.conv.weight": torch.zeros(6, 6)})
    assert bits(model.state_dict()) == before


def test_a_fine_tuned_xception_of_cadenes_package():
    """Its classifier is called last_linear; FaceForensics puts it behind dropout in an nn.Sequential."""
    theirs = exported_state_dict(iz.create_model("xception", num_classes=2), "cadene")
    assert theirs["last_linear.weight"].shape == (2, 2048)
    assert iz.create_model("xception", weights=theirs).num_classes == 2
    own = {f"model.{name}".replace("last_linear.", "last_linear.1."): value for name, value in theirs.items()}
    features = iz.create_model("xception", weights=own)
    assert (features.num_classes, features.report.layout) == (0, "cadene")
    assert features.report.dropped == ["last_linear.1.weight", "last_linear.1.bias"]
    assert iz.create_model("xception", weights=own, num_classes=3).report.left_random == ["head.fc.weight", "head.fc.bias"]


def test_a_separable_stem_shows_its_input_channels():
    state = iz.create_model("inception_v2", in_chans=2, num_classes=4).state_dict()
    model = iz.create_model("inception_v2", weights=state)
    assert (model.in_chans, model.num_classes) == (2, 4)
    with pytest.raises(iz.MismatchError, match=r"\(16, 1, 7, 7\) must be \(24, 1, 7, 7\)"):
        iz.create_model("inception_v2", weights=state, in_chans=3)


def test_native_round_trip_in_both_memory_formats(tmp_path, tiny):
    x = torch.randn(2, 3, 8, 8)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        tiny.to(memory_format=memory_format)
        iz.save_weights(tiny, tmp_path / "a.safetensors", class_names=["a", "b", "c"], metrics={"auc": 0.5})
        model = iz.load_model(tmp_path / "a.safetensors")
        assert bits(model.state_dict()) == bits(tiny.state_dict())
        assert model(x).equal(tiny(x))
        assert (model.report, model.class_names, model.training) == (iz.Report("inceptionzoo"), ("a", "b", "c"), False)
        assert str(model.report) == "layout: inceptionzoo\nrenamed: 0"
        fresh = iz.create_model("tiny").to(memory_format=memory_format)
        assert iz.load_weights(fresh, tmp_path / "a.safetensors") == iz.Report("inceptionzoo")
        assert bits(fresh.state_dict()) == bits(tiny.state_dict())


def assert_loaded(model: iz.Net, report: iz.Report, theirs: State) -> None:
    """Every tensor of the model is the source's, under the report's names; nothing is left over."""
    names = {ours: their for their, ours in report.renamed.items()}
    for key, value in model.state_dict().items():
        assert value.equal(theirs[names.get(key, key)].reshape(value.shape)), key
    assert set(theirs) == {names.get(key, key) for key in model.state_dict()} | set(report.dropped)
    assert model.report is report


def test_torchvision_googlenet(tmp_path):
    peer = torchvision.models.googlenet(weights=None, num_classes=5, aux_logits=True, init_weights=False)
    theirs = peer.state_dict()
    model = iz.create_model("googlenet", num_classes=5)
    report = iz.load_weights(model, theirs)
    assert_loaded(model, report, theirs)
    assert (report.layout, len(report.renamed), report.adapted) == ("torchvision", len(model.state_dict()), {})
    assert report.renamed["inception5b.branch3.1.bn.running_var"] == "features.inception5b.branch3.1.bn.running_var"
    assert report.dropped == [key for key in theirs if key.startswith("aux")]
    assert f"renamed: {len(report.renamed)}\ndropped: aux1.conv.conv.weight, aux1" in str(report)
    both = iz.with_aux(model)
    report = iz.load_weights(both, theirs)
    assert_loaded(both, report, theirs)
    assert report.dropped == []


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_timm_vgg(register, kind):
    stages = {"conv1_1": iz.Conv(4, 3), "pool1": iz.Pool("max", 2, 2, "valid"), "conv2_1": iz.Conv(6, 3)}
    net = iz.network(stages, head=iz.Head(kind, hidden=(8, 4096), size=7), style=iz.Style(eps=1e-5, bias=True))
    register("small_vgg", net, layouts=vgg.layouts(net), num_classes=3)
    peer = timm.models.vgg.VGG([4, "M", 6], num_classes=3, mlp_ratio=8 / 4096, norm_layer=torch.nn.BatchNorm2d).eval()
    model = iz.create_model("small_vgg").eval()
    report = iz.load_weights(model, peer.state_dict())
    assert_loaded(model, report, peer.state_dict())
    exchanged = dict.fromkeys(("head.hidden.fc1.weight", "head.hidden.fc2.weight"), "dense and convolution exchanged")
    assert (report.layout, report.adapted) == ("timm", exchanged if kind == "mlp" else {})
    x = torch.randn(2, 3, 14, 14)
    torch.testing.assert_close(model(x), peer(x))


def test_new_head(tiny):
    other = iz.create_model("tiny", num_classes=5)
    before, theirs = bits(other.state_dict()), changed(tiny)
    report = iz.load_weights(other, theirs, new_head=True)
    heads = ["head.fc.weight", "head.fc.bias"]
    assert report == iz.Report("inceptionzoo", replaced=heads, left_random=heads)
    assert "replaced: head.fc.weight, head.fc.bias\nleft_random: head.fc.weight" in str(report)
    wanted = {key: before[key] if key in heads else value for key, value in bits(theirs).items()}
    assert bits(other.state_dict()) == wanted
    made = iz.create_model("tiny", weights=theirs, num_classes=5)
    assert made.report == report
    assert bits(without(made.state_dict(), "head.")) == bits(without(theirs, "head."))
    assert made.head.fc.weight.std() > 0
    assert iz.create_model("tiny", weights=theirs).num_classes == 3


def test_a_kept_head_keeps_its_batch_counter():
    model = iz.build(iz.network(stem=iz.Conv(4, 3), head=iz.Head("embed", hidden=(5,))))
    model.head.hidden["bn1"].num_batches_tracked.fill_(7)
    report = iz.load_weights(model, without(changed(model), "head."), new_head=True)
    assert model.head.hidden["bn1"].num_batches_tracked == 7
    assert report.replaced == report.left_random == [key for key in model.state_dict() if key.startswith("head.")]
    assert report.adapted == {}


def test_a_classifier_of_another_width_keeps_its_bias_too(tiny):
    """Its weight has another shape, its bias has not."""
    wide = iz.create_model("tiny", global_pool="catavgmax")
    before = wide.head.fc.bias.clone()
    report = iz.load_weights(wide, changed(tiny), new_head=True)
    assert report.left_random == report.replaced == ["head.fc.weight", "head.fc.bias"]
    assert wide.head.fc.bias.equal(before)
    both = iz.with_aux(iz.create_model("tiny", global_pool="catavgmax", device="meta"))
    theirs = changed(iz.with_aux(tiny))
    assert iz.load_weights(both, theirs, new_head=True).left_random == report.left_random
    assert both.aux["stem"].head.fc.weight.equal(theirs["aux.stem.head.fc.weight"])


def test_a_head_of_ones_own_on_the_meta_device(tiny):
    with torch.device("meta"):
        model = iz.create_model("tiny", num_classes=0)
        model.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(model.num_features, 5))
    theirs = without(changed(tiny), "head.fc.")
    with pytest.raises(iz.ArgumentError, match=r"head.2.weight is on the meta device, and .*; call model.head.to_empty"):
        iz.load_weights(model, theirs, new_head=True)
    assert all(value.is_meta for value in model.state_dict().values())
    model.head.to_empty(device="cpu")[2].reset_parameters()
    before = model.head[2].weight.clone()
    assert iz.load_weights(model, theirs, new_head=True).left_random == ["head.2.weight", "head.2.bias"]
    assert model.head[2].weight.equal(before)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 5)


def test_new_head_of_a_model_on_the_meta_device(tiny):
    empty = iz.create_model("tiny", num_classes=5, device="meta")
    report = iz.load_weights(empty, changed(tiny), new_head=True)
    assert report.left_random == ["head.fc.weight", "head.fc.bias"]
    assert not any(value.is_meta for value in empty.state_dict().values())
    assert empty(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    assert empty.head.fc.weight.std() > 0


def test_absent_counters_and_casts_are_reported(tiny):
    theirs = without(changed(tiny), "num_batches_tracked")
    report = iz.load_weights(tiny, theirs)
    counters = [key for key in tiny.state_dict() if "num_batches_tracked" in key]
    assert report.adapted == dict.fromkeys(counters, "absent, set to 0")
    assert all(tiny.state_dict()[key] == 0 for key in counters)
    assert str(report).startswith(
        f"layout: inceptionzoo\nrenamed: 0\nadapted: *.num_batches_tracked ({len(counters)}): absent, set to 0\npreprocessing: "
    )
    half = {key: value.half() if value.is_floating_point() else value for key, value in changed(tiny).items()}
    report = iz.load_weights(tiny, half)
    assert report.adapted == {key: "cast from torch.float16 to torch.float32" for key in half if key not in counters}
    assert all(value.equal(half[key].to(value.dtype)) for key, value in tiny.state_dict().items())
    assert f"adapted: {CONV}: cast from torch.float16" in str(report)


def test_a_pruned_model_refuses_weights_for_other_arguments():
    model = iz.create_model("inception_v3", num_classes=2)
    layout = next(layout for layout in model.layouts if layout.name == "keras")
    theirs = {layout.theirs(key): value for key, value in model.state_dict().items()}
    model.prune_intermediate_layers([3])
    with pytest.raises(
        iz.MismatchError, match=r"built with include_pad=True; create_model\('inception_v3', include_pad=False\)"
    ):
        iz.load_weights(model, theirs)


def test_auxiliary_heads_are_saved_and_dropped(tmp_path, tiny):
    both, x = iz.with_aux(tiny), torch.randn(2, 3, 8, 8)
    iz.save_weights(both, tmp_path / "both.safetensors")
    iz.save_weights(tiny, tmp_path / "plain.safetensors")
    loaded = iz.load_model(tmp_path / "both.safetensors")
    assert bits(loaded.state_dict()) == bits(both.state_dict())
    assert loaded.forward_aux(x)[1]["stem"].equal(both.forward_aux(x)[1]["stem"])
    plain = iz.create_model("tiny", weights=tmp_path / "both.safetensors")
    assert bits(plain.state_dict()) == bits(tiny.state_dict())
    assert sorted(plain.report.dropped) == sorted(key for key in both.state_dict() if key.startswith("aux."))
    with pytest.raises(
        iz.MismatchError, match=r"4 missing \(aux\.stem.*; these .* no auxiliary heads: load them before with_aux"
    ):
        iz.load_weights(both, tmp_path / "plain.safetensors")


@pytest.mark.parametrize("through", ["dict", "file"])
def test_a_new_model_shares_no_memory(tmp_path, tiny, through):
    much = torch.rand(1000)
    theirs = changed(tiny) | {CONV: much[:1].expand(4, 3, 3, 3)}
    theirs |= {key: much[: value.numel()] for key, value in theirs.items() if "running" in key}
    source, wanted = theirs, bits(theirs)
    if through == "file":
        torch.save(theirs, tmp_path / "a.pth")
        source = tmp_path / "a.pth"
    model = iz.create_model("tiny", weights=source)
    much.zero_()
    assert bits(model.state_dict()) == wanted
    assert len({value.data_ptr() for value in model.state_dict().values()}) == len(wanted)
    assert all(value.is_contiguous() for value in model.state_dict().values())


@pytest.mark.parametrize(("name", "layout"), [(name, item) for name, entry in REGISTRY.items() for item in entry.layouts])
def test_layouts_are_bijections_and_recognised(name, layout):
    model = iz.create_model(name, device="meta")
    keys = list((iz.with_aux(model) if model.network.aux else model).state_dict())
    table = layout.table(keys)
    back = {theirs: ours for ours, theirs in table.items()}
    assert (list(table), len(back)) == (keys, len(keys))
    match = match_layout(keys, reversed(list(back)), REGISTRY[name].layouts, name)
    assert (match.layout, match.distance, match.dropped) == (layout.name, 0, [])
    assert [back[match.table[key]] for key in keys] == keys


def test_an_unknown_layout_shows_the_nearest(tiny):
    model = iz.create_model("vgg11", device="meta")
    keys = vgg.layouts(model.network)[0].table(model.state_dict()).values()
    theirs = {key.replace("features.0.", "feature.0."): torch.zeros(1) for key in keys}
    names = [
        r"torchvision: 2 missing \(features.0.weight, features.0.bias\), 2 unknown \(feature.0.weight, feature.0.bias\)",
        r"timm: 8 missing \(features.0.weight, .*\), 8 unknown \(feature.0.weight, .*\)",
        r"inceptionzoo: 22 missing \(features.conv1_1.conv.weight, .*\), 22 unknown \(feature.0.weight, .*\)",
    ]
    with pytest.raises(iz.MismatchError, match="; ".join(names)):
        iz.load_weights(model, theirs)


def test_missing_scales_of_batch_normalisation_have_a_remedy(tiny):
    """Keras's Inception networks have batch normalisation with scale=False."""
    state = {key: value for key, value in tiny.state_dict().items() if not key.endswith(".bn.weight")}
    with pytest.raises(iz.MismatchError, match=r"scale=False\), add tensors of ones under these names"):
        iz.load_weights(tiny, state)
    state.pop("head.fc.bias")
    with pytest.raises(iz.MismatchError, match="use weights of this model"):
        iz.load_weights(tiny, state)


def test_absent_counters_have_values(tiny):
    """Files older than torch 0.4.1 have none. A model that is made from a file is built on the meta device."""
    state = {key: value for key, value in tiny.state_dict().items() if not key.endswith("num_batches_tracked")}
    model = iz.create_model("tiny", weights=state)
    counters = [value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")]
    assert len(counters) > 2
    assert all(value.device.type == "cpu" and value == 0 for value in counters)
    model.train()(torch.randn(2, 3, 8, 8))
