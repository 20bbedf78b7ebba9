"""What a file says of its model: checked before anything is built, and true when read back."""

import json
import re
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

import inceptionzoo as iz
from inceptionzoo.weights._metadata import ModelMetadata, describe_model
from inceptionzoo.weights._safetensors import MARKER, read_safetensors, write_safetensors

NAMES = ["a", "b", "c"]


@pytest.fixture
def saved(tmp_path, tiny):
    """A saved model, and its card."""
    path = tmp_path / "tiny.safetensors"
    iz.save_weights(tiny, path, class_names=NAMES, metrics={"auc": 0.9})
    return path, card_in(path)


@pytest.fixture
def small_memory():
    """4 GiB more of address space, no further: a header's huge number must fail fast, not fill the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**32, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def card_in(path: Path) -> dict[str, object]:
    return json.loads(read_safetensors(path)[1][MARKER])


def rewrite(path: Path, card: object) -> None:
    """Give the file another card, with a digest that is right."""
    write_safetensors(path, read_safetensors(path)[0], {MARKER: card if isinstance(card, str) else json.dumps(card)})


def test_the_card_says_what_the_model_is(saved, tiny):
    _, card = saved
    expected = {"architecture": "tiny", "num_classes": 3, "in_chans": 3, "global_pool": "avg", "drop_rate": 0.0, "aux": False}
    assert expected.items() <= card.items()
    assert (card["class_names"], card["metrics"], card["version"]) == (NAMES, {"auc": 0.9}, 1)
    assert card == json.loads(ModelMetadata.from_json(json.dumps(card), "a file").to_json())
    assert json.loads(describe_model(tiny, class_names=None, metrics=None).to_json()) == card | {
        "class_names": None,
        "metrics": {},
    }
    assert list(card) == sorted(card)


def test_everything_in_the_card_comes_back(tmp_path, tiny):
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
KEYS += ["class_names", "metrics", "version"]


def test_the_first_files_do_not_say_whether_they_are_fused(saved):
    path, card = saved
    rewrite(path, {name: value for name, value in card.items() if name != "fused"})
    assert not iz.load_model(path).fused


@pytest.mark.parametrize("key", [*(key for key in KEYS if key != "fused"), "more"])
def test_a_missing_or_unknown_key_is_refused(saved, key):
    path, card = saved
    assert set(card) == set(KEYS)
    rewrite(path, {"more": 1, **card} if key == "more" else {name: value for name, value in card.items() if name != key})
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
    path, card = saved
    rewrite(path, card | {key: value})
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
    path, card = saved
    inner = key.removeprefix("data.")
    rewrite(path, card | ({key: value} if inner == key else {"data": card["data"] | {inner: value}}))
    with pytest.raises(iz.ZooError):
        iz.load_model(path)


@pytest.mark.parametrize("key", ["num_classes", "in_chans"])
@pytest.mark.parametrize("value", [10**9, 10**12, 10**30])
def test_nor_for_a_network_with_a_module_of_ones_own(tmp_path, register, small_memory, key, value):
    register("own", iz.network(a=iz.Conv(4), b=iz.Op(lambda width: nn.Conv2d(width, 4, 1), 4)), num_classes=3)
    path = tmp_path / "own.safetensors"
    iz.save_weights(iz.create_model("own"), path)
    rewrite(path, card_in(path) | {key: value})
    with pytest.raises(iz.ZooError):
        iz.load_model(path)


@pytest.mark.parametrize("text", TEXTS, ids=[text[:20] for text in TEXTS])
def test_a_card_that_is_no_object_is_refused(saved, text):
    path, _ = saved
    rewrite(path, text)
    with pytest.raises(iz.FileError, match="save it again|upgrade"):
        iz.load_model(path)


@pytest.mark.parametrize("change", [{"version": 2}, {"aux": 1}, {"more": 1}, {"data": {"crop_pct": 2}}], ids=str)
def test_a_bad_card_names_its_file(saved, change):
    path, card = saved
    rewrite(path, card | change)
    with pytest.raises(iz.FileError, match=re.escape(str(path))):
        iz.load_model(path)


@pytest.mark.parametrize(
    "names", [[], ["a"], ["a", "b", "b"], [1, 2, 3], [["a"], ["b"], ["c"]], ["a", "b", None], "abc"], ids=str
)
def test_wrong_class_names_are_refused_and_the_old_file_stays(saved, tiny, names):
    path, _ = saved
    before = path.read_bytes()
    with pytest.raises(iz.ArgumentError, match=r"class_names=.* must be 3 .*one a class"):
        iz.save_weights(tiny, path, class_names=names)
    assert path.read_bytes() == before


UNDESCRIBED = {
    "nameless": (lambda: iz.build(iz.network(a=iz.Conv(4))), {}, r"no name to be built again by: register_model.*create_model"),
    "a class": (lambda: iz.create_model("odd", act=nn.GELU), {}, "arguments .*GELU.* must be plain values to be saved"),
    "meta": (lambda: iz.create_model("tiny", device="meta"), {}, "meta device and holds no weights; load or create them first"),
    "no model": (lambda: nn.Linear(1, 1), {}, "model is a Linear; save_weights takes a model of create_model"),
    "metrics": (lambda: iz.create_model("tiny"), {"metrics": {"auc": "high"}}, "metrics.*'high'"),
}


@pytest.mark.parametrize(("make", "options", "text"), UNDESCRIBED.values(), ids=UNDESCRIBED)
def test_what_cannot_be_described_is_not_saved(tmp_path, tiny, register, make, options, text):
    register("odd", lambda *, act=None: iz.network(a=iz.Conv(4)))
    with pytest.raises(iz.ArgumentError, match=text):
        iz.save_weights(make(), tmp_path / "a.safetensors", **options)
    assert list(tmp_path.iterdir()) == []
