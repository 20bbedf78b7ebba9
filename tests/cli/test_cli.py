"""The command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import inceptionzoo as iz
from inceptionzoo.cli import main
from inceptionzoo.weights import exported_state_dict


@pytest.fixture
def cli(capsys):
    """Run a command and return (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_list(cli):
    assert cli("list", "googlenet*") == (0, "googlenet\ngooglenet_5x5\ngooglenet_cifar\ngooglenet_paper\n", "")
    assert cli("list", "resnet*") == (0, "no model matches 'resnet*'\n", "")
    assert json.loads(cli("list", "vgg16", "--pretrained", "--json")[1]) == ["vgg16.tv_features", "vgg16.tv_in1k"]


def test_info(cli):
    code, out, _ = cli("info", "googlenet")
    assert code == 0
    for text in (
        "inception4e",
        "6,624,904",
        "smallest input: 15 px",
        "googlenet.tv_in1k: top-1 69.778 % reported, bsd-3-clause",
    ):
        assert text in out
    info = json.loads(cli("info", "googlenet", "--json")[1])
    assert (info["params"], info["weights"]["tv_in1k"]["top1"]) == (6_624_904, 69.778)
    code, out, err = cli("info", "googlnet")
    assert (code, out) == (1, "")
    assert "unknown model 'googlnet'; did you mean 'googlenet'?" in err


def test_draw(cli, tmp_path):
    assert cli("draw", "googlenet", tmp_path / "a.svg") == (0, f"written: {tmp_path / 'a.svg'}\n", "")
    assert (tmp_path / "a.svg").read_text() == str(iz.draw("googlenet"))
    assert json.loads(cli("draw", "googlenet", tmp_path / "b.svg", "--full", "--json")[1])["name"] == "googlenet"
    assert len((tmp_path / "b.svg").read_text()) > len((tmp_path / "a.svg").read_text())
    code, _, err = cli("draw", "googlenet", tmp_path / "a.png")
    assert (code, "must end in .svg" in err) == (1, True)


def test_convert_and_verify(cli, tmp_path):
    model = iz.create_model("googlenet_cifar", num_classes=2)
    torch.save({"net": exported_state_dict(model, "pytorch-cifar"), "epoch": 3}, tmp_path / "a.pth")
    code, out, err = cli("convert", tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert (code, out) == (1, "")
    assert "pass architecture=NAME; its tensors fit googlenet_cifar" in err
    options = ("--architecture", "googlenet_cifar", "--class-names", "benign", "malignant")
    code, out, err = cli("convert", tmp_path / "a.pth", tmp_path / "b.safetensors", *options)
    assert (code, err) == (0, "")
    assert "layout: pytorch-cifar\ntaken: net\n" in out
    assert iz.load_model(tmp_path / "b.safetensors").class_names == ("benign", "malignant")
    code, out, _ = cli("verify", tmp_path / "b.safetensors")
    assert code == 0
    assert "digest: right\narchitecture: googlenet_cifar\nlayout: inceptionzoo\n" in out
    result = json.loads(cli("verify", tmp_path / "a.pth", "--architecture", "googlenet_cifar", "--json")[1])
    assert (result["digest"], result["layout"]) == ("none", "pytorch-cifar")
    code, out, _ = cli("verify", tmp_path / "a.pth")
    assert code == 0
    assert "architecture: unknown; pass --architecture to check names" in out
    data = bytearray((tmp_path / "b.safetensors").read_bytes())
    data[-5] ^= 4
    (tmp_path / "b.safetensors").write_bytes(data)
    code, out, err = cli("verify", tmp_path / "b.safetensors")
    assert (code, out) == (1, "")
    assert "its bytes do not match its own digest" in err
    torch.save({"a": torch.tensor(float("nan"))}, tmp_path / "a.pth")
    code, _, err = cli("verify", tmp_path / "a.pth")
    assert code == 1
    assert "all values must be finite" in err


def test_verify_a_folder(cli, tmp_path, tiny):
    iz.save_pretrained(tiny, tmp_path / "out")
    code, out, _ = cli("verify", f"local-dir:{tmp_path / 'out'}")
    assert code == 0
    assert "architecture: tiny" in out


def test_program_and_module():
    for command in ([Path(sys.executable).with_name("inceptionzoo")], [sys.executable, "-m", "inceptionzoo"]):
        done = subprocess.run([*command, "list", "vgg16"], capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, "vgg16\n"), done.stderr
    done = subprocess.run([sys.executable, "-m", "inceptionzoo", "lst"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "invalid choice: 'lst'" in done.stderr


def test_shell_completion(tmp_path):
    output = tmp_path / "output"
    request = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": " ", "_ARGCOMPLETE_STDOUT_FILENAME": str(output)}
    command = Path(sys.executable).with_name("inceptionzoo")

    def complete(line):
        subprocess.run([command], env={**os.environ, **request, "COMP_LINE": line, "COMP_POINT": str(len(line))}, check=True)
        return set(output.read_text().split())

    assert {"googlenet", "googlenet_5x5"} <= complete("inceptionzoo info goog") == set(iz.list_models("goog*"))
    assert complete("inceptionzoo ver") == {"verify"}
    assert "--no-compile" in complete("inceptionzoo bench vgg16 --")
