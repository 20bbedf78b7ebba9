"""The command line."""

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from PIL import Image

import inceptionzoo as iz
from inceptionzoo.cli import _main, _parser
from inceptionzoo.weights import exported_state_dict


def test_list(cli):
    assert cli("list", "googlenet*") == (0, "googlenet\ngooglenet_5x5\ngooglenet_cifar\ngooglenet_paper\n", "")
    code, out, err = cli("list", "Google*")
    assert (code, out) == (0, "")  # no line that a script could take for a name
    assert err.startswith("no model matches 'Google*'; names are in lower case")
    tags = "keras_in1k", "keras_in1k_notop", "tv_features", "tv_in1k"
    assert json.loads(cli("list", "vgg16", "--pretrained", "--json")[1]) == [f"vgg16.{tag}" for tag in tags]


def test_list_with_costs(cli):
    code, out, err = cli("list", "*19*", "--long")
    assert (code, err) == (0, "")
    heading, *rows = [line.split() for line in out.splitlines()]
    assert heading == ["model", "parameters", "multiply-adds", "image"]
    assert rows[0] == ["vgg19", "143,667,240", "19,632", "M", "224x224", "px"]
    assert [row[0] for row in rows] == ["vgg19", "vgg19_bn", "vgg19_bn_cifar"]
    costs = json.loads(cli("list", "*19*", "-l", "--json")[1])
    assert (costs[0]["name"], costs[0]["params"]) == ("vgg19", 143_667_240)
    assert cli("list", "nothing", "--long")[:2] == (0, "")


def test_info(cli):
    code, out, _ = cli("info", "googlenet")
    assert code == 0
    for text in (
        "inception4e",
        "6,624,904",
        "smallest input: 15 px",
        "memory: weights 25 MiB; a training step of 32 images about ",
        "googlenet.tv_in1k: top-1 69.778 % reported, bsd-3-clause",
    ):
        assert text in out
    info = json.loads(cli("info", "googlenet", "--json")[1])
    assert (info["params"], info["weights"]["tv_in1k"]["top1"]) == (6_624_904, 69.778)
    code, out, err = cli("info", "googlnet")
    assert (code, out) == (1, "")
    assert "unknown model 'googlnet'; did you mean 'googlenet'?" in err


def test_info_of_published_weights(cli):
    """The names that `list --pretrained` prints."""
    code, out, err = cli("info", "googlenet.tv_in1k")
    assert (code, err) == (0, "")
    assert "\ngooglenet.tv_in1k: top-1 69.778 %" in out
    assert out.splitlines()[0].startswith("googlenet.tv_in1k")
    assert "1x1x512" in cli("info", "vgg16.tv_features")[1]  # these weights have no classifier
    for name, text in {".": ". is a folder without config.json", "..": ".. is a folder", "": "unknown model ''."}.items():
        code, out, err = cli("info", name)
        assert (code, out) == (1, "")
        assert text in err


def test_info_of_a_file_and_of_a_folder(cli, tmp_path, tiny):
    path = tmp_path / "tiny.safetensors"
    iz.save_weights(tiny, path, class_names=["a", "b", "c"], metrics={"auc": 0.75})
    code, out, err = cli("info", path)
    assert (code, err) == (0, "")
    assert "\ntotal " in out
    for line in ("architecture: tiny", "class_names: a, b, c", "metrics: auc 0.75"):
        assert f"\n{line}\n" in out
    assert "\npreprocessing: input_size [3, 8, 8], mean [0.485, 0.456, 0.406], std" in out
    info = json.loads(cli("info", path, "--json")[1])
    assert (info["num_classes"], info["preprocessing"]["input_size"], info["metrics"]) == (3, [3, 8, 8], {"auc": 0.75})
    iz.save_pretrained(tiny, tmp_path / "folder")
    assert "architecture: tiny" in cli("info", f"local-dir:{tmp_path / 'folder'}")[1]
    torch.save(tiny.state_dict(), tmp_path / "bare.pth")
    code, out, err = cli("info", tmp_path / "bare.pth")
    assert (code, out) == (1, "")
    assert "bare.pth does not say which model it holds; `inceptionzoo verify" in err
    code, _, err = cli("info", tmp_path / "none.safetensors")
    assert code == 1
    assert "none.safetensors does not exist, and is no name of a model either" in err


@pytest.mark.parametrize("option", ["--pretrained", "--json"])
def test_a_reader_that_stops_early_is_no_error(option):
    command = [sys.executable, "-m", "inceptionzoo", "list", option]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before the command writes
        assert process.stderr.read() == b""
        assert process.wait(timeout=120) == 141


def test_draw(cli, tmp_path):
    assert cli("draw", "googlenet", tmp_path / "a.svg") == (0, f"written: {tmp_path / 'a.svg'}\n", "")
    assert (tmp_path / "a.svg").read_text() == str(iz.draw("googlenet"))
    assert json.loads(cli("draw", "googlenet", tmp_path / "b.svg", "--full", "--json")[1])["name"] == "googlenet"
    assert len((tmp_path / "b.svg").read_text()) > len((tmp_path / "a.svg").read_text())
    code, _, err = cli("draw", "googlenet", tmp_path / "a.png")
    assert (code, "must end in .svg" in err) == (1, True)


def test_a_folder_that_does_not_exist_is_named(cli, tmp_path):
    path = tmp_path / "none" / "a.svg"
    code, out, err = cli("draw", "googlenet", path)
    assert (code, out) == (1, "")
    assert f"the folder {path.parent} does not exist; create it first: '{path}'" in err
    code, out, err = cli("bench", "googlenet", "--plot", path)
    assert (code, out) == (1, "")  # nothing was measured
    assert f"the folder {path.parent} does not exist; create it" in err


def test_a_folder_that_cannot_be_written_is_named(cli, tmp_path, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)  # root may write to every folder
    code, _, err = cli("draw", "googlenet", tmp_path / "a.svg")
    assert (code, err) == (1, f"inceptionzoo: [Errno 13] Permission denied: '{tmp_path / 'a.svg'}'\n")


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 3)])
def test_a_closed_stream_is_no_error(tmp_path, tiny, closed, code):
    iz.save_weights(iz.create_model("tiny", num_classes=2), tmp_path / "tiny.safetensors")
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    images = "a.png" if closed == ">&-" else "a.png none.png"  # the second is reported on stderr
    command = f"{sys.executable} -m inceptionzoo predict tiny.safetensors {images} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, cwd=tmp_path, env=with_modules(tmp_path))
    assert (done.returncode, done.stderr) == (code, b"")
    assert done.stdout.startswith(b"" if closed == ">&-" else b"a.png: ")


def test_messages_name_options(cli, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    assert "pass --architecture NAME" in cli("convert", tmp_path / "a.pth", tmp_path / "b.safetensors")[2]
    assert "--batch 4000000000 must be" in cli("bench", "googlenet", "--batch", "4000000000")[2]


def test_two_jobs_of_bench_are_refused(cli):
    with pytest.raises(SystemExit, match="2"):
        cli("bench", "googlenet", "--train", "--load")


@pytest.mark.parametrize(
    "command",
    [
        ("train", ""), ("train", "pets", "--out", ""), ("train", "pets", "--weights", ""), ("predict", "m", ""),
        ("predict", "m", "a.png", "--csv", ""), ("evaluate", "m", ""), ("evaluate", "m", "pets", "--plots", ""),
        ("draw", "googlenet", ""), ("convert", "", "b"), ("convert", "a", ""), ("verify", ""),
        ("bench", "--plot", ""), ("bench", "--peers", "--int8", ""),
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_path_is_not_the_current_folder(cli, capsys, command):
    with pytest.raises(SystemExit, match="2"):
        cli(*command)
    assert "the path is empty; pass one, and check the variable that should hold it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "form"),
    [
        ("--epochs", "0", "an int of at least 1"), ("--size", "1.5", "an int of at least 1"),
        ("--workers", "-1", "an int of at least 0"), ("--seed", "-1", "an int from 0 to 2**63 - 1"),
        ("--ema", "1", "a number of at least 0 and below 1"), ("--drop-rate", "nan", "a number of at least 0 and below 1"),
        ("--lr", "abc", "a finite number of at least 0"), ("--lr", "inf", "a finite number of at least 0"),
        ("--rounds", "0", "an int of at least 1"),
    ],
)  # fmt: skip
def test_a_number_outside_its_range_names_the_range(cli, capsys, option, value, form):
    with pytest.raises(SystemExit, match="2"):
        cli(*(("bench",) if option == "--rounds" else ("train", "pets")), f"{option}={value}")
    assert f"argument {option}: {value!r} must be {form}" in capsys.readouterr().err


def test_convert_and_verify(cli, tmp_path):
    model = iz.create_model("googlenet_cifar", num_classes=2)
    torch.save({"net": exported_state_dict(model, "pytorch-cifar"), "epoch": 3}, tmp_path / "a.pth")
    code, out, err = cli("convert", tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert (code, out) == (1, "")
    assert "pass --architecture NAME; its tensors fit googlenet_cifar" in err
    options = ("--architecture", "googlenet_cifar", "--class-names", "benign", "malignant")
    code, out, err = cli("convert", tmp_path / "a.pth", tmp_path / "b.safetensors", *options)
    assert (code, err) == (0, "")
    assert "layout: pytorch-cifar\ntaken: net\n" in out
    assert iz.load_model(tmp_path / "b.safetensors").class_names == ("benign", "malignant")
    code, out, _ = cli("verify", tmp_path / "b.safetensors")
    assert code == 0
    assert "digest: matches the file\nlayout: inceptionzoo\narchitecture: googlenet_cifar\n" in out
    assert "num_classes: 2\nclass_names: benign, malignant\npreprocessing: input_size [3, 32, 32], mean " in out
    result = json.loads(cli("verify", tmp_path / "a.pth", "--architecture", "googlenet_cifar", "--json")[1])
    assert (result["digest"], result["layout"]) == ("none", "pytorch-cifar")
    code, out, _ = cli("verify", tmp_path / "a.pth")
    assert code == 0
    assert "architecture: unknown; pass --architecture to check names" in out
    code, out, err = cli("convert", tmp_path / "a.pth", tmp_path / "out.pth", *options)
    assert (code, out) == (1, "")
    assert "out.pth' must end in .safetensors, the format that is written; export_weights" in err
    assert not (tmp_path / "out.pth").exists()
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


@pytest.fixture
def module(tmp_path, monkeypatch, register):
    """The name of a module in the current folder that registers a model and prints a line."""
    text = "import inceptionzoo as iz\nprint('hello')\niz.register_model('mine', iz.network(a=iz.Conv(4)), num_classes=2)\n"
    (tmp_path / "models_for_test.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "models_for_test"
    sys.modules.pop("models_for_test", None)


@pytest.mark.parametrize("after", [False, True])
def test_a_module_is_imported_first(cli, module, after):
    command = ("list", "mine", "--import", module) if after else ("--import", module, "list", "mine")
    assert cli(*command) == (0, "mine\n", "hello\n")


def test_several_modules_are_imported_once_each(cli, module):
    assert json.loads(cli("--import", module, "list", "mine", "--json", "--import", module)[1]) == ["mine"]
    assert json.loads(cli("info", "mine", "--json", "--import", "json")[1])["num_classes"] == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent_for_test", None, "--import absent_for_test: ModuleNotFoundError: No module named"),
        ("models_for_test.py", "", "'models_for_test.py' must be the name of a module, for example my_models"),
        ("a/b", None, "'a/b' must be the name of a module"),
        ("", None, "'' must be the name of a module"),
        ("raises_for_test", "1 / 0", "--import raises_for_test: ZeroDivisionError: division by zero; pass a module"),
        ("leaves_for_test", "import sys; sys.exit(3)", "--import leaves_for_test: SystemExit: 3"),
        ("broken_for_test", "def", "--import broken_for_test: SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(cli, module, name, text, message):
    if text:
        Path(f"{name}.py").write_text(text)
    code, out, err = cli("list", "mine", "--import", name)
    assert (code, out) == (1, "")
    assert message in err


def test_verify_a_network_without_a_name(cli, tmp_path):
    iz.save_weights(iz.build(iz.network(a=iz.Conv(4))), tmp_path / "a.safetensors")
    code, out, _ = cli("verify", tmp_path / "a.safetensors")
    assert code == 0
    assert {"architecture: a network without a name", "layout: inceptionzoo"} <= set(out.splitlines())


def restore_sigint() -> None:
    """Let SIGINT end this process: what started the tests may ignore it, as a shell does for what runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def with_modules(folder: Path) -> dict[str, str]:
    """Return an environment in which Python imports this library and, before others, the modules in a folder."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(iz.__file__).parents[1])])}


def run_module(folder: Path, *arguments: str) -> tuple[int, bytes, bytes]:
    """Run `python -m inceptionzoo` with modules that are in a folder; return its exit status, stdout and stderr."""
    command = [sys.executable, "-m", "inceptionzoo", *arguments]
    options = {"env": with_modules(folder), "timeout": 120, "preexec_fn": restore_sigint}
    done = subprocess.run(command, capture_output=True, check=False, **options)
    return done.returncode, done.stdout, done.stderr


def test_an_interrupt_ends_the_process_without_a_traceback(tmp_path):
    """By SIGINT, also while torch is imported. After an exit code of 130, the loop of a shell would go on."""
    (tmp_path / "interrupts.py").write_text("raise KeyboardInterrupt")
    assert run_module(tmp_path, "list", "--import", "interrupts") == (-signal.SIGINT, b"", b"")
    (tmp_path / "torch.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)")
    assert run_module(tmp_path, "list") == (-signal.SIGINT, b"", b"")


def test_an_interrupt_while_the_options_are_read(cli, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(_main, "build_parser", interrupt)
    assert cli("list") == (130, "", "")


def test_ctrl_c_is_pythons_own_in_other_programs():
    code = "import signal, inceptionzoo; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.check_output([sys.executable, "-c", code], preexec_fn=restore_sigint) == b"True\n"


def test_a_checkout_that_is_not_installed():
    code = (
        "import sys, importlib.metadata as m\nfound = m.version\n"
        "def version(name):\n    if name == 'inceptionzoo': raise m.PackageNotFoundError(name)\n    return found(name)\n"
        "m.version = version\nfrom inceptionzoo.cli import main\nsys.exit(main(['list', 'vgg16']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "vgg16\n"), done.stderr


def test_nan_is_null_in_json(cli, monkeypatch):
    values = {"a": float("nan"), "b": (float("-inf"), 1.5), "c": types.MappingProxyType({"d": float("inf")})}
    monkeypatch.setattr(_parser, "run_cache", lambda options: values)
    code, out, _ = cli("cache", "--json")
    assert (code, json.loads(out, parse_constant=pytest.fail)) == (0, {"a": None, "b": [None, 1.5], "c": {"d": None}})


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
