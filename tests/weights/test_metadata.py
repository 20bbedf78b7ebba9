"""The metadata of a file: checked before anything is built, and equal when read back."""

import json
import re
import resource
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

import inceptionzoo as iz
from inceptionzoo.weights._metadata import ModelMetadata, describe_model
from inceptionzoo.weights._safetensors import MARKER, read_safetensors, write_safetensors

NAMES = ["a", "b", "c"]


@pytest.fixture
def saved(tmp_path, tiny):
    """The path of a saved model, and its metadata."""
    path = tmp_path / "tiny.safetensors"
    iz.save_weights(tiny, path, class_names=NAMES, metrics={"auc": 0.9})
    return path, metadata_in(path)


@pytest.fixture
def small_memory():
    """Limit the address space to 4 GiB more than now, so that a huge number in a header fails fast."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**32, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def metadata_in(path: Path) -> dict[str, object]:
    return json.loads(read_safetensors(path)[1][MARKER])


def rewrite(path: Path, metadata: object) -> None:
    """Give the file other metadata, with a digest that matches."""
    write_safetensors(
        path, read_safetensors(path)[0], {MARKER: metadata if isinstance(metadata, str) else json.dumps(metadata)}
    )


def test_the_metadata_describes_the_model(saved, tiny):
    _, metadata = saved
    expected = {"architecture": "tiny", "num_classes": 3, "in_chans": 3, "global_pool": "avg", "drop_rate": 0.0, "aux": False}
    assert expected.items() <= metadata.items()
    assert (metadata["class_names"], metadata["metrics"], metadata["version"]) == (NAMES, {"auc": 0.9}, 1)
    assert metadata == json.loads(ModelMetadata.from_json(json.dumps(metadata), "a file").to_json())
    assert json.loads(describe_model(tiny, class_names=None, metrics=None).to_json()) == metadata | {
        "class_names": None,
        "metrics": {},
    }
    assert list(metadata) == sorted(metadata)


def test_all_metadata_is_restored(tmp_path, tiny):
    torch.manual_seed(1)
    options = {"num_classes": 2, "in_chans": 5, "global_pool": "catavgmax", "drop_rate": 0.25}
    model = iz.create_model("tiny", five=5, width=6, **options)
    model.set_input_size((40, 24)), model.set_class_names(["x", "y"])
    iz.save_weights(model, tmp_path / "a.safetensors")
    for again in (iz.load_model(tmp_path / "a.safetensors"), iz.create_model("tiny", weights=tmp_path / "a.safetensors")):
        assert {key: getattr(again, key) for key in ("num_classes", "in_chans", "global_pool")} | {"drop_rate": 0.25} == options
        assert (again.head.drop.p, again.arguments, again.data) == (0.25, {"five": 5, "width": 6}, model.data)
        assert (again.class_names, again.entry.name, again.network) == (("x", "y"), "tiny", model.network)


@pytest.mark.parametrize("five", [5, 3, (3, 3)])
def test_tuples_stay_tuples(tmp_path, tiny, five):
    iz.save_weights(iz.create_model("tiny", five=five), tmp_path / "a.safetensors")
    again = iz.load_model(tmp_path / "a.safetensors")
    assert again.arguments == {"five": five}
    iz.save_weights(again, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


KEYS = [
    "architecture",
    "num_classes",
    "in_chans",
    "global_pool",
    "drop_rate",
    "aux",
    "channels_last",
    "fused",
    "arguments",
    "data",
]
KEYS += ["class_names", "metrics", "network", "version"]


def test_files_without_the_key_fused_are_not_fused(saved):
    path, metadata = saved
    rewrite(path, {name: value for name, value in metadata.items() if name != "fused"})
    assert not iz.load_model(path).fused


def test_files_without_a_network_are_of_a_registered_model(saved):
    """As those of version 0.1 are."""
    path, metadata = saved
    rewrite(path, {name: value for name, value in metadata.items() if name != "network"})
    assert iz.load_model(path).entry.name == "tiny"


@pytest.mark.parametrize("key", [*(key for key in KEYS if key not in ("fused", "network")), "more"])
def test_a_missing_or_unknown_key_is_refused(saved, key):
    path, metadata = saved
    assert set(metadata) == set(KEYS)
    rewrite(
        path, {"more": 1, **metadata} if key == "more" else {name: value for name, value in metadata.items() if name != key}
    )
    with pytest.raises(iz.FileError, match=f"{key}.*(save it again|upgrade)"):
        iz.load_model(path)


TYPES = {
    "architecture": (1, None, ["tiny"]),
    "num_classes": ("3", 3.0, None, [3]),
    "in_chans": ("3", 3.0, None),
    "global_pool": (1, None, ["avg"]),
    "drop_rate": ("0", None, True),
    "aux": (1, "x", None),
    "channels_last": (1, "x", None),
    "fused": (1, "x", None),
    "arguments": ([], None, "x"),
    "data": ([], None, "x"),
    "class_names": ("abc", {}, 3),
    "metrics": ([], None, {"auc": "high"}),
    "version": (0, 2, "1", None, []),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in TYPES.items() for value in values], ids=str)
def test_a_value_of_another_type_is_refused(saved, key, value):
    path, metadata = saved
    rewrite(path, metadata | {key: value})
    with pytest.raises(iz.FileError, match=f"{key}.*(save it again|upgrade)"):
        iz.load_model(path)


DEEP = "[" * 600 + "]" * 600
TEXTS = [
    "",
    "null",
    "[]",
    "3",
    "{",
    "nope",
    "[" * 100_000,
    '{"version": 1}',
    '{"version": ' + "1" * 5000 + "}",
    '{"version": NaN}',
]
HUGE = [10**9, 10**12, 2**63, 10**30]
VALUES = {
    "architecture": ["nope", "", "\ud800", "googlenet_cifar", "../tiny", "x" * 10_000],
    "num_classes": [True, -1, 0, 2, 4, *HUGE],
    "in_chans": [True, -1, 0, 1, *HUGE],
    "global_pool": ["", "catavgmax", "average", "AVG"],
    "drop_rate": [-0.1, 1.0, 2.0, float("nan"), float("inf")],
    "aux": [True],
    "arguments": [{"five": 4}, {"five": [3, 4]}, {"five": {}}, {"five": True}, {"five": "5"}, {"five": json.loads(DEEP)}]
    + [{"more": 1}, {"num_classes": 3}, {"weights": "x"}, {"device": "meta"}, {"": 1}]
    + [{"width": width} for width in ("4", -4, 0, 3, True, None, *HUGE)],
    "class_names": [[], ["a"], ["a", "b", "b"], [1, 2, 3], [["a"], ["b"], ["c"]], ["a", "b", None], ["a"] * 4],
    "data.input_size": [3, "abc", [3, 8], [3, 8, 0], [3, 8, -8], [3, 8, True], [3, 8.0, 8], None],
    "data.mean": [[], "abc", 5, ["a"], [True], [float("nan")] * 3, [float("inf")] * 3, [10**400], [10**400] * 3],
    "data.std": [[], [0, 1, 1], [-1, 1, 1], [float("nan")] * 3, [float("inf")] * 3],
    "data.crop_pct": [0, 2, True, "1", float("nan")],
    "data.interpolation": ["x", 1, None, ["bilinear"]],
    "data.more": [1],
    "version": [True, 1.0],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in VALUES.items() for value in values], ids=lambda value: str(value)[:40]
)
def test_a_hostile_value_is_refused_before_anything_is_allocated(saved, small_memory, key, value):
    path, metadata = saved
    if key == "architecture":
        del metadata["network"]  # it could be loaded without the name
    inner = key.removeprefix("data.")
    rewrite(path, metadata | ({key: value} if inner == key else {"data": metadata["data"] | {inner: value}}))
    with pytest.raises(iz.ZooError):
        iz.load_model(path)


@pytest.mark.parametrize("name", ["../tiny", "a b", "a\n"])
def test_the_name_beside_a_network_is_a_word(saved, name):
    path, metadata = saved
    assert "network" in metadata
    rewrite(path, metadata | {"architecture": name})
    with pytest.raises(iz.FileError, match="architecture=.* must be made of letters, digits, '_' and '-'"):
        iz.load_model(path)


@pytest.mark.parametrize("key", ["num_classes", "in_chans"])
@pytest.mark.parametrize("value", [10**9, 10**12, 10**30])
def test_a_hostile_value_is_refused_for_a_network_with_a_custom_module(tmp_path, register, small_memory, key, value):
    register("own", iz.network(a=iz.Conv(4), b=iz.Op(lambda width: nn.Conv2d(width, 4, 1), 4)), num_classes=3)
    path = tmp_path / "own.safetensors"
    iz.save_weights(iz.create_model("own"), path)
    rewrite(path, metadata_in(path) | {key: value})
    with pytest.raises(iz.ZooError):
        iz.load_model(path)


@pytest.mark.parametrize("text", TEXTS, ids=[text[:20] for text in TEXTS])
def test_metadata_that_is_not_an_object_is_refused(saved, text):
    path, _ = saved
    rewrite(path, text)
    with pytest.raises(iz.FileError, match="save it again|upgrade"):
        iz.load_model(path)


@pytest.mark.parametrize("change", [{"version": 2}, {"aux": 1}, {"more": 1}, {"data": {"crop_pct": 2}}], ids=str)
def test_an_error_names_the_file(saved, change):
    path, metadata = saved
    rewrite(path, metadata | change)
    with pytest.raises(iz.FileError, match=re.escape(str(path))):
        iz.load_model(path)


@pytest.mark.parametrize(
    "names", [[], ["a"], ["a", "b", "b"], [1, 2, 3], [["a"], ["b"], ["c"]], ["a", "b", None], "abc"], ids=str
)
def test_wrong_class_names_are_refused_and_the_old_file_stays(saved, tiny, names):
    path, _ = saved
    before = path.read_bytes()
    with pytest.raises(iz.ArgumentError, match=r"class_names=.* must be 3 .*one per class"):
        iz.save_weights(tiny, path, class_names=names)
    assert path.read_bytes() == before


UNDESCRIBED = {
    "nameless code": (
        lambda: iz.build(iz.network(a=iz.Conv(4)), act=nn.GELU),
        {},
        r"style\.act=.*GELU.* call register_model.*create",
    ),
    "a class": (lambda: iz.create_model("odd", act=nn.GELU), {}, "arguments .*GELU.* must be plain values to be saved"),
    "meta": (lambda: iz.create_model("tiny", device="meta"), {}, "meta device and holds no weights; load or create them first"),
    "not a model": (lambda: nn.Linear(1, 1), {}, "model is a Linear; save_weights takes a model of create_model"),
    "metrics": (lambda: iz.create_model("tiny"), {"metrics": {"auc": "high"}}, "metrics.*'high'"),
    "a huge metric": (
        lambda: iz.create_model("tiny"),
        {"metrics": {"auc": 10**400}},
        "metrics: auc=10+ must be a finite number",
    ),
    "no finite metric": (
        lambda: iz.create_model("tiny"),
        {"metrics": {"auc": numpy.float32("nan")}},
        "must be a finite number",
    ),
}


@pytest.mark.parametrize(("make", "options", "text"), UNDESCRIBED.values(), ids=UNDESCRIBED)
def test_a_model_that_cannot_be_described_is_not_saved(tmp_path, tiny, register, make, options, text):
    register("odd", lambda *, act=None: iz.network(a=iz.Conv(4)))
    with pytest.raises(iz.ArgumentError, match=text):
        iz.save_weights(make(), tmp_path / "a.safetensors", **options)
    assert list(tmp_path.iterdir()) == []


def test_metrics_may_be_numpys_numbers(tmp_path, tiny):
    iz.save_weights(tiny, tmp_path / "a.safetensors", metrics={"acc": numpy.float32(0.5), "count": numpy.int64(3)})
    assert iz.weights.read_weights(tmp_path / "a.safetensors").metadata.metrics == {"acc": 0.5, "count": 3.0}


@pytest.mark.parametrize(("classes", "names"), [(1, ["benign", "malignant"]), (4, None)])
def test_the_task_is_kept_only_if_it_is_not_the_default(tiny, tmp_path, classes, names):
    tiny.reset_classifier(classes)
    if names:
        tiny.set_class_names(names)
    for task, written in ((tiny.task, None), ("multilabel", "multilabel"), ("regression", "regression")):
        tiny.task = task
        iz.save_weights(tiny, tmp_path / "m.safetensors")
        metadata = json.loads(read_safetensors(tmp_path / "m.safetensors")[1][MARKER])
        assert metadata.get("task") == written
        assert ("task" in metadata) is (written is not None)
        iz.save_pretrained(tiny, tmp_path / "folder")
        for again in (iz.load_model(tmp_path / "m.safetensors"), iz.create_model(f"local-dir:{tmp_path / 'folder'}")):
            assert again.task == task
            assert again.class_names == (None if names is None or task != "binary" else tuple(names))  # two names of one output


@pytest.mark.parametrize("task", ["binary", "segmentation", 3, ["multilabel"]], ids=str)
def test_a_task_that_the_model_cannot_have_is_refused(saved, task):
    path, metadata = saved
    rewrite(path, {**metadata, "task": task})
    with pytest.raises(iz.FileError, match="task=.*save it again"):
        iz.load_model(path)


def test_weights_of_another_task_are_reported(tiny, tmp_path):
    tiny.task = "multilabel"
    iz.save_weights(tiny, tmp_path / "m.safetensors")
    tiny.task = "multiclass"
    assert iz.load_weights(tiny, tmp_path / "m.safetensors").differs["task"] == "saved with 'multilabel', here 'multiclass'"
