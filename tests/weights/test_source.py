"""Reading .pth files: tensors are read, code is never run."""

import argparse
import ast
import collections
import contextlib
import datetime
import io
import os
import pickle
import random
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import inceptionzoo as iz
from inceptionzoo.weights import read_weights

PACKAGE = Path(iz.__file__).parent
DOORS = {
    "load_weights": iz.load_weights,
    "create_model": lambda model, path: iz.create_model("tiny", weights=path),
    "load_model": lambda model, path: iz.load_model(path),
}
FORMATS = {
    "zip": torch.save,
    "legacy": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "pickle": lambda state, path: path.write_bytes(pickle.dumps(state, protocol=2)),
}


class Call:
    """An object whose pickle calls `function` when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


HOSTILE = {
    "system": lambda canary: Call(os.system, f"touch {canary}"),
    "open": lambda canary: Call(open, str(canary), "w"),
    "eval": lambda canary: Call(eval, f"__import__('os').mkdir({str(canary)!r})"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_by_name(tmp_path, tiny, door, suffix, save, name):
    path, canary = tmp_path / f"a{suffix}", tmp_path / "canary"
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    save({"more": HOSTILE[name](canary), **before}, path)
    with pytest.raises(iz.FileError) as error:
        DOORS[door](tiny, path)
    assert not canary.exists()
    assert all(value.equal(before[key]) for key, value in tiny.state_dict().items())
    assert str(path) in str(error.value)
    if suffix == ".pth":
        assert re.search(rf"\b{name}\b", str(error.value))
        assert "weights_only" not in str(error.value)  # torch advises to switch its own check off


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_the_same_pickle_does_harm_without_the_check(tmp_path, make):
    result = pickle.loads(pickle.dumps(make(tmp_path / "canary")))
    getattr(result, "close", int)()
    assert (tmp_path / "canary").exists()


def test_the_environment_cannot_switch_the_check_off(tmp_path):
    path, canary = tmp_path / "a.pth", tmp_path / "canary"
    torch.save({"a": HOSTILE["system"](canary)}, path)
    script = f"""
import os, torch, inceptionzoo as iz
model, path = iz.create_model("googlenet_cifar"), {str(path)!r}
doors = [
    lambda: iz.load_weights(model, path),
    lambda: iz.create_model("googlenet_cifar", weights=path),
    lambda: iz.load_model(path),
]
for door in doors:
    try:
        door()
    except iz.FileError:
        print(os.path.exists({str(canary)!r}))
torch.load(path)
"""
    environment = os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout.split() == ["False"] * 3, done.stderr
    assert canary.exists()  # the last line of the script, torch's own load, obeyed the environment


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".tar"])
@pytest.mark.parametrize("save", [FORMATS["zip"], FORMATS["legacy"]], ids=["zip", "legacy"])
def test_an_ordinary_checkpoint_loads(tmp_path, tiny, suffix, save):
    path = tmp_path / f"a{suffix}"
    wanted = {key: value + 1 for key, value in tiny.state_dict().items()}
    save({"model": wanted, "epoch": 3, "acc": 93.1, "args": {"lr": 0.1}}, path)
    iz.load_weights(tiny, path)
    made = iz.create_model("tiny", weights=str(path))
    for model in (tiny, made):
        assert all(value.equal(wanted[key]) for key, value in model.state_dict().items())
    with pytest.raises(iz.FileError, match=r"does not say which model it holds; use create_model\(NAME, weights="):
        iz.load_model(path)


BESIDE = {  # what training programs save beside the weights
    "timm's arguments": lambda: argparse.Namespace(model="tiny", lr=0.1, tensor=torch.ones(2)),
    "a NumPy number": lambda: np.float64(93.1),
    "NumPy numbers in a list": lambda: [np.float32(1), np.int64(2), np.str_("a"), np.bool_(True)],
    "NumPy arrays": lambda: {"confusion": np.eye(3), "objects": np.array([None, "a"], dtype=object)},
    "dates": lambda: (datetime.datetime.now(datetime.UTC), datetime.timedelta(1)),
    "a path": lambda: Path("a"),
    "a defaultdict": lambda: collections.defaultdict(list, {"loss": [0.3]}),
    "several": lambda: [argparse.Namespace(out=Path("a")), np.float64(1), datetime.date(2026, 1, 1)],
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("case", BESIDE)
def test_data_beside_the_weights_is_left_over(tmp_path, tiny, case, zipped):
    wanted = {key: value + 1 for key, value in tiny.state_dict().items()}
    torch.save({"net": wanted, "more": BESIDE[case]()}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    allowed = torch.serialization.get_safe_globals()
    report = iz.load_weights(tiny, tmp_path / "a.pth")
    assert report.left_over == ["more"]
    assert all(value.equal(wanted[key]) for key, value in tiny.state_dict().items())
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_arrays_in_place_of_tensors(tmp_path, tiny):
    arrays = {key: value.numpy() for key, value in tiny.state_dict().items()}
    torch.save(arrays, tmp_path / "a.pth")
    for source in (arrays, tmp_path / "a.pth"):
        with pytest.raises(iz.FileError, match=r"holds NumPy arrays, not tensors; pass a state dict: {name: torch.from_numpy"):
            iz.load_weights(tiny, source)
    torch.save({"model": tiny.state_dict(), "net": arrays}, tmp_path / "a.pth")
    assert iz.load_weights(tiny, tmp_path / "a.pth").taken == "model"


def test_a_whole_model_is_refused_with_a_remedy(tmp_path, tiny):
    torch.save(tiny, tmp_path / "a.pth")
    remedy = r"load it yourself with torch\.load and pass its state dict, or the state_dict\(\) of a model"
    with pytest.raises(iz.FileError, match=rf"holds inceptionzoo\S+Net besides tensors.*{remedy}"):
        iz.load_weights(tiny, tmp_path / "a.pth")
    with pytest.raises(iz.FileError, match=r"it holds 'model' of type Net, 'epoch' of type int. Pass the state_dict\(\)"):
        iz.load_weights(tiny, {"model": tiny, "epoch": 3})


def test_places_that_are_no_files(tmp_path, tiny):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(iz.FileError, match=r"not a file but a folder; .* it holds model.safetensors$"):
        iz.load_weights(tiny, tmp_path)
    with pytest.raises(iz.FileError, match=r"^https://a.org/b.pth is not a file but a URL; download it"):
        iz.load_weights(tiny, "https://a.org/b.pth")


SAVED_CHANGED = {
    "pruned": ({"weight_orig": "weight", "weight_mask": "weight"}, r"pruned: call torch.nn.utils.prune.remove"),
    "weight normalisation": ({"weight_g": "bias", "weight_v": "weight"}, r"weight normalisation: call .*remove_weight_norm"),
    "spectral normalisation": (
        {"weight_orig": "weight", "weight_u": "bias"},
        r"spectral normalisation: call .*remove_spectral",
    ),
    "parametrized": ({"parametrizations.weight.original": "weight"}, r"parametrized: call .*remove_parametrizations"),
    "LoRA": ({"base_layer.weight": "weight", "lora_A.weight": "weight"}, r"LoRA adapters: merge them"),
    "quantized": ({"weight_fake_quant.scale": "bias", "zero_point": "bias"}, r"quantized: save it before"),
}


@pytest.mark.parametrize("case", SAVED_CHANGED)
def test_weights_of_a_changed_model(tiny, case):
    names, text = SAVED_CHANGED[case]
    state = tiny.state_dict()
    values = {f"head.fc.{name}": state[f"head.fc.{old}"] for name, old in names.items()}
    del state["head.fc.weight"]
    with pytest.raises(iz.MismatchError, match=f"the saved model was changed: .*{text}"):
        iz.load_weights(tiny, state | values)


def test_one_of_several_files(tmp_path, tiny):
    path = tmp_path / "model-00001-of-00002.safetensors"
    safetensors.torch.save_file(dict(list(tiny.state_dict().items())[:9]), path)
    with pytest.raises(iz.MismatchError, match=r"one file of several: read each with safetensors.torch.load_file"):
        iz.load_weights(tiny, path)


BROKEN = {
    "empty": b"",
    "garbage": random.Random(0).randbytes(999),
    "text": b"hello world",
    "HTML": b"<!DOCTYPE html><html></html>",
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "a .safetensors": b"\x02\0\0\0\0\0\0\0{}",
    "zip of nothing": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_file_of_another_format_is_refused(tmp_path, tiny, data):
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    with pytest.raises(iz.FileError, match="fetch|download|rename") as error:
        iz.load_weights(tiny, path)
    assert str(path) in str(error.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
def test_a_cut_file_never_loads_and_a_flipped_byte_raises_only_our_errors(tmp_path, tiny, save):
    path, pick, loaded, escaped = tmp_path / "a.pth", random.Random(0), [], {}
    save({"a": torch.arange(6.0), "b": torch.tensor(3)}, path)
    data = path.read_bytes()
    cuts = [data[:size] for size in range(0, len(data), 3)]
    flips = [(at, pick.randrange(256)) for at in (pick.randrange(len(data)) for _ in range(1500))]
    for number, broken in enumerate(cuts + [data[:at] + bytes([byte]) + data[at + 1 :] for at, byte in flips]):
        path.write_bytes(broken)
        try:
            iz.load_weights(tiny, path)
        except iz.MismatchError:
            loaded += [number] if number < len(cuts) else []  # it was read; its names are not those of the model
        except iz.FileError:
            pass
        except Exception as error:
            escaped.setdefault(type(error).__name__, error)
    assert escaped == {}
    assert loaded == []


def test_a_flip_in_an_archive_never_loads(tmp_path, tiny):
    path, pick, wanted = tmp_path / "a.pth", random.Random(1), tiny.state_dict()
    torch.save(wanted, path)
    data, before = path.read_bytes(), {key: value.clone() for key, value in wanted.items()}
    silent = 0
    for _ in range(1500):
        broken = bytearray(data)
        broken[pick.randrange(len(data))] ^= 1 << pick.randrange(8)
        path.write_bytes(broken)
        with contextlib.suppress(iz.WeightsError):
            iz.load_weights(tiny, path)
        silent += any(not value.equal(before[key]) for key, value in tiny.state_dict().items())
        tiny.load_state_dict(before)
    assert silent == 0


def rezipped(path: Path, change: Callable[[zipfile.ZipFile, zipfile.ZipInfo, bytes], None]) -> None:
    """Rewrite the archive; `change` writes each entry."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries:
            change(archive, entry, data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_compressed_and_doubled_entries_are_refused(tmp_path, tiny):
    path = tmp_path / "a.pth"
    torch.save(tiny.state_dict(), path)
    rezipped(path, lambda archive, entry, data: archive.writestr(entry.filename, data, zipfile.ZIP_DEFLATED))
    assert torch.load(path)  # torch itself accepts it
    with pytest.raises(iz.FileError, match="is compressed and may expand to any size"):
        iz.load_weights(tiny, path)
    torch.save(tiny.state_dict(), path)
    rezipped(path, lambda archive, entry, data: [archive.writestr(entry.filename, data) for _ in range(2)])
    with pytest.raises(iz.FileError, match="two entries of one name"):
        iz.load_weights(tiny, path)


def test_entries_marked_as_folders_are_refused(tmp_path, tiny):
    """torch reads a marked entry as an empty one."""
    path = tmp_path / "a.pth"
    torch.save(tiny.state_dict(), path)

    def mark(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, data: bytes) -> None:
        entry.external_attr |= 0x10
        archive.writestr(entry, data)

    rezipped(path, mark)
    with pytest.raises(iz.FileError, match="is marked as a folder or as encrypted"):
        iz.load_weights(tiny, path)


FORBIDDEN = {
    "torch.load",
    "torch.hub",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "_pickle",
    "marshal",
    "dill",
    "joblib",
}
FORBIDDEN |= {"weights_only=False", "weights_only=None", "allow_pickle=True", "eval", "exec", "torch as", "pickle as"}


def offences(text: str) -> list[str]:
    """Return the names in a module's text that could run code of a file; `torch.load(..., weights_only=True)` is allowed."""
    names, nodes = [], list(ast.walk(ast.parse(text)))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    safe = [node.func for node in calls if "weights_only=True" in map(ast.unparse, node.keywords)]
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [f"{alias.name} as" if alias.asname else alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Name | ast.Attribute | ast.keyword) and node not in safe:
            names.append(ast.unparse(node))
    return [name for name in names if name in FORBIDDEN or any(name.startswith(f"{other}.") for other in FORBIDDEN)]


def test_the_package_runs_no_code_of_a_file():
    files = sorted(PACKAGE.rglob("*.py"))
    assert PACKAGE / "weights" / "_source.py" in files
    assert {str(file): found for file in files if (found := offences(file.read_text(encoding="utf-8")))} == {}


CODE = """torch.load(p) | torch.load(p, weights_only=False) | torch.load(p, weights_only=flag) | pickle.load(f) | eval(s)
pickle.loads(b) | from pickle import loads | from torch import load | from torch import hub | import torch.hub | import dill
torch.hub.load('a', 'b') | f(weights_only=False) | numpy.load(p, allow_pickle=True) | import pickle as p | import torch as t"""


@pytest.mark.parametrize("line", [part.strip() for part in CODE.replace("\n", "|").split("|")])
def test_the_search_finds_each_form(line):
    assert offences(line)
    assert not offences("torch.load(path, weights_only=True)\nmodel.load(1)\nexcept_ = pickle.UnpicklingError")


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"x", zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, kernel=np.zeros(3))
    return stream.getvalue()


OTHER_FORMATS = {
    "keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "a Keras model; rename it to .keras"),
    "npz": (npz(), "a NumPy archive; load it with numpy.load"),
    "npy": (b"\x93NUMPY\x01\x00v\x00{'descr'", "a NumPy array; load it with numpy.load"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, such as Keras's; rename it to .h5"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(99), "a TensorFlow Lite model; use the weights"),
    "onnx": (b"\x08\x0a\x12\x07pytorch\x1a\x03" + bytes(99), "an ONNX model; read its initializers"),
    "gz": (b"\x1f\x8b\x08\0abcdefgh" + bytes(99), "a gzip archive; unpack it"),
    "json": (b'{"metadata": {"total_size": 1}}', "a JSON file, such as the index of a checkpoint"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "an image"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ""])
@pytest.mark.parametrize(("data", "text"), OTHER_FORMATS.values(), ids=OTHER_FORMATS)
def test_a_file_of_a_known_format_is_named(tmp_path, tiny, data, text, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(data)
    with pytest.raises(iz.FileError, match=f"weights{suffix} is not a {suffix or '.safetensors'} file but {text}"):
        iz.load_weights(tiny, path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_programs_are_named(tmp_path, tiny, suffix):
    module = torch.nn.Linear(2, 2)
    with warnings.catch_warnings(action="ignore"):
        torch.jit.trace(module, torch.zeros(1, 2)).save(tmp_path / f"script{suffix}")
        torch.export.save(torch.export.export(module, (torch.zeros(1, 2),)), stream := io.BytesIO())
    (tmp_path / f"program{suffix}").write_bytes(stream.getvalue())
    for name, text in (
        ("script", "a TorchScript model, .* torch.jit.load"),
        ("program", "an exported program; .* torch.export.load"),
    ):
        with pytest.raises(iz.FileError, match=f"{name}{suffix} is not a {suffix} file but {text}"):
            iz.load_weights(tiny, tmp_path / f"{name}{suffix}")


@pytest.mark.parametrize("length", [0x8B1F, 0x227B, 0x120108])
def test_a_header_whose_length_looks_like_another_format_is_read(tmp_path, length):
    """The file begins with the length: its bytes can be those of a gzip archive, a JSON file or an ONNX model."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header + bytes(4))
    assert read_weights(path).tensors["a"].tolist() == [0.0]


def test_weights_are_saved_under_the_ending_of_their_format(tmp_path, tiny):
    for save in (lambda path: iz.save_weights(tiny, path), iz.Ensemble([tiny]).save):
        for name in ("m.pth", "m.ckpt", "m.h5", "m"):
            with pytest.raises(iz.ArgumentError, match=rf"{name}' must end in .safetensors, .*; export_weights writes .pth"):
                save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
