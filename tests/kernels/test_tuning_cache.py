"""Results of tuning and compiled kernels are kept between processes, and whatever is wrong with the files is survived."""

import errno
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from convolutions import conv, maps
from llvmlite import ir
from torch import nn

import inceptionzoo as iz
from inceptionzoo.cli import main
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference import tuned
from inceptionzoo.inference._modules import ConvAct
from inceptionzoo.kernels import _jit as jit
from inceptionzoo.kernels import _tuning_cache as cache
from inceptionzoo.kernels._tile_args import TileArgs


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The names that were measured as the fastest; the cache is empty and on."""
    monkeypatch.setenv("INCEPTIONZOO_CACHE", str(tmp_path))
    monkeypatch.delenv(cache.VARIABLE)
    names = []

    def last(candidates, x):  # the signature of `_fastest`
        names.append(list(candidates)[-2])
        return names[-1]

    monkeypatch.setattr(autotune, "_fastest", last)
    forget()
    yield names
    forget()


def forget() -> None:
    """Forget what a new process does not know."""
    autotune._FASTEST.clear()
    cache._NEW.clear()
    cache._stored.cache_clear()


def run(*, keep: bool = True) -> str:
    """Tune a convolution, as a new process, and return the type of the implementation that it chose."""
    forget()
    block = tuned(ConvAct(conv(), nn.ReLU()), cache=keep)
    block(maps(1, 8, 9, 9))
    cache.write_results()
    ((_, implementation),) = block._autotuner.chosen.values()
    return type(implementation).__name__


def results_file() -> Path:
    (path,) = iz.inference.tuning_cache_folder().glob("*/results.json")
    return path


def test_a_second_process_does_not_measure(measured):
    first = run()
    assert (len(measured), run(), len(measured)) == (1, first, 1)
    assert json.loads(results_file().read_text())["results"].keys() == {repr(key) for key in autotune._FASTEST}


def test_off_by_argument_and_by_environment(measured, monkeypatch, tmp_path):
    for _ in range(2):
        run(keep=False)
    monkeypatch.setenv(cache.VARIABLE, "0")
    run()
    assert len(measured) == 3
    assert not list(tmp_path.rglob("results.json"))
    fast = iz.fuse(iz.create_model("inception_time"), cache=False)
    assert {module.cached for module in fast.modules() if isinstance(module, ConvAct)} == {False}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"machine": {}, "results": {}}',
        b'{"results": {"a": "b"}}',
        b"MACHINE[1]",
        b"MACHINEnull",
        b'MACHINE{"OPERATION": "of another version"}',
        b'MACHINE{"OPERATION": ["im2col"]}',
    ],
)
def test_damaged_results_are_measured_again(measured, content):
    run()
    (operation,) = map(repr, autotune._FASTEST)
    start = b'{"machine": ' + json.dumps(cache.machine()).encode() + b', "results": '
    content = content.replace(b"MACHINE", start).replace(b'"OPERATION"', json.dumps(operation).encode())
    results_file().write_bytes(content + b"}" * content.startswith(start))
    run()
    assert len(measured) == 2
    run()
    assert len(measured) == 2, "the file was written again"


def test_a_folder_that_cannot_be_written(measured, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INCEPTIONZOO_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.INFO):
        run()
    assert len(measured) == 1
    assert "the tuning cache cannot be written" in caplog.text


def test_a_full_disk_leaves_no_partial_file(measured, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", fail)
    assert cache.machine_code("kernel", lambda: b"code") == b"code"
    assert cache.tuning_cache_bytes() == 0


def test_a_user_without_a_home_folder(measured, monkeypatch, caplog):
    def fail(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    with caplog.at_level(logging.INFO):
        run()
    assert len(measured) == 1
    assert "the tuning cache cannot be read: Could not determine" in caplog.text


def test_a_folder_that_others_can_write_is_ignored(measured, caplog):
    run()
    results_file().parent.chmod(0o770)
    with caplog.at_level(logging.INFO):
        run()
    assert len(measured) == 2
    assert "other users can write it" in caplog.text


def test_a_folder_of_another_user_is_ignored(measured, monkeypatch):
    run()
    other = results_file().stat().st_uid + 1
    monkeypatch.setattr(cache.os, "geteuid", lambda: other)
    run()
    assert len(measured) == 2


def test_results_of_other_processes_stay(measured):
    run()
    path = results_file()
    others = json.loads(path.read_text())
    others["results"]["another operation"] = "torch"
    forget()
    cache.add_result("mine", "onednn")
    path.write_text(json.dumps(others))  # written after this process had read the file
    cache.write_results()
    assert json.loads(path.read_text())["results"].keys() == {*others["results"], "mine"}


def test_machine_code(measured, monkeypatch):  # the fixture turns the cache on
    compiled = []
    assert cache.machine_code("kernel", lambda: compiled.append(1) or b"code") == b"code"
    assert cache.machine_code("kernel", lambda: compiled.append(2) or b"code") == b"code"
    assert compiled == [1]
    (path,) = iz.inference.tuning_cache_folder().glob("*/*.o")
    for damaged in (b"", path.read_bytes()[:-1], path.read_bytes()[:-1] + b"x"):
        path.write_bytes(damaged)
        assert cache.machine_code("kernel", lambda: compiled.append(3) or b"code") == b"code"
    assert compiled == [1, 3, 3, 3]
    monkeypatch.setattr(cache, "MAX_BYTES", 8)
    assert cache.machine_code("kernel", lambda: b"new") == b"new"


def test_an_edited_kernel_is_compiled_again(measured, monkeypatch):
    keys = []
    code = cache.machine_code
    monkeypatch.setattr(jit, "machine_code", lambda key, compile_source: keys.append(key) or code(key, compile_source))
    jit.kernel(TileArgs)(lambda: emit_nothing)()
    monkeypatch.setattr(jit, "_source_digest", lambda: "edited")
    jit.kernel(TileArgs)(lambda: emit_nothing)()
    assert len(keys) == len(set(keys)) == 2


def emit_nothing(module):
    body = ir.Function(module, ir.FunctionType(jit.VOID, [jit.POINTER, jit.INT64, jit.INT64]), "body")
    ir.IRBuilder(body.append_basic_block()).ret_void()
    return body


PROCESS = """
import torch, inceptionzoo as iz
from inceptionzoo.inference import _autotune
measure, count = _autotune._fastest, []
_autotune._fastest = lambda candidates, x: count.append(1) or measure(candidates, x)
torch.manual_seed(0)
fast = iz.fuse(iz.build(iz.network(a=iz.Conv(16, 3), b=iz.inception(8, 8, 16, 4, 8, 8))).eval())
with torch.inference_mode():
    y = fast(torch.randn(1, 3, 20, 20))
print(len(count), y.double().sum().item().hex(), y.double().square().sum().item().hex())
"""


def test_two_processes_give_the_same_bits(measured):
    outputs = [
        subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert int(outputs[0][0]) > 4
    assert outputs[1] == ["0", *outputs[0][1:]]


def test_the_command(measured, capsys):
    run()
    assert main(["cache", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["folder"] == str(iz.inference.tuning_cache_folder())
    assert shown["bytes"] > 100
    assert main(["cache", "--clear"]) == 0
    assert f"{shown['bytes']:,} bytes removed" in capsys.readouterr().out
    assert main(["cache"]) == 0
    assert ": 0 bytes" in capsys.readouterr().out
