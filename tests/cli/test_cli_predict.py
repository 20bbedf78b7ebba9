"""`inceptionzoo predict`."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from images import write_images

import inceptionzoo as iz
from inceptionzoo.zoo import _predict

NAMES = ["cat", "dog", "owl"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with images/{a,b}."""
    monkeypatch.chdir(tmp_path)
    return write_images(tmp_path / "images", {"a": 3, "b": 2})


@pytest.fixture
def model(tiny, folder):
    """A file with class names."""
    tiny.set_class_names(NAMES)
    iz.save_weights(tiny, "tiny.safetensors")
    return tiny


def test_a_line_for_each_image(cli, model):
    code, out, err = cli("predict", "tiny.safetensors", "images")
    assert (code, err) == (0, "")
    expected = iz.predict(model, "images")
    assert out.splitlines() == [
        f"{path}: {', '.join(f'{name} {value:.4g}' for name, value in answer)}" for path, answer in expected.items()
    ]
    assert len(expected) == 5
    one = cli("predict", "tiny.safetensors", "images/a/0.png", "--top", "1")[1]
    assert one == out.splitlines()[0].partition(",")[0] + "\n"


def test_five_classes_are_shown_and_more_on_request(cli, folder, register):
    register("wide", lambda: iz.network(a=iz.Conv(4)), num_classes=12, input_size=(3, 8, 8))
    iz.save_weights(iz.create_model("wide"), "wide.safetensors")
    assert cli("predict", "wide.safetensors", "images/a/0.png")[1].count(",") == 4
    assert cli("predict", "wide.safetensors", "images/a/0.png", "--top", 8)[1].count(",") == 7


@pytest.mark.parametrize("source", ["tiny.safetensors", "folder", "local-dir:folder", "ensemble.safetensors"])
@pytest.mark.parametrize("options", [(), ("--fuse", "--batch", "2", "--device", "cpu")])
def test_sources_of_models(cli, model, source, options):
    iz.save_pretrained(model, "folder")
    iz.Ensemble([model, model]).save("ensemble.safetensors")
    code, out, err = cli("predict", source, "images", "--json", *options)
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert (result["model"], result["unreadable"], result["interrupted"]) == (source, [], False)
    for row, (path, answer) in zip(result["predictions"], iz.predict(model, "images").items(), strict=True):
        assert row["path"] == path
        assert list(row["probabilities"]) == [name for name, _ in answer]
        assert list(row["probabilities"].values()) == pytest.approx([value for _, value in answer], abs=1e-5)


def test_a_model_that_cannot_be_used_is_named(cli, model, tmp_path):
    (tmp_path / "bare.pth").write_bytes(b"")
    iz.save_weights(iz.create_model("tiny", num_classes=0), "headless.safetensors")
    for source, text in {
        "tiy": "unknown model 'tiy'; did you mean 'tiny'?",
        "bare.pth": "`inceptionzoo convert bare.pth OUT.safetensors --architecture NAME`",
        "headless.safetensors": "headless.safetensors has no classifier",
        "tiny": "no published weights are listed for 'tiny'",
    }.items():
        code, out, err = cli("predict", source, "images")
        assert (code, out) == (1, "")
        assert text in err
    assert "device='tpu9'" in cli("predict", "tiny.safetensors", "images", "--device", "tpu9")[2]


def test_patterns_and_their_order(cli, model):
    arguments = "images/b/1.png", "images/?/0.png", "images/b"
    paths = [row["path"] for row in json.loads(cli("predict", "tiny.safetensors", *arguments, "--json")[1])["predictions"]]
    assert paths == ["images/b/1.png", "images/a/0.png", "images/b/0.png"]  # each once
    deep = json.loads(cli("predict", "tiny.safetensors", "**/*.png", "--json")[1])["predictions"]
    assert len(deep) == 5
    Path("images/[x].png").write_bytes(Path("images/a/0.png").read_bytes())
    assert cli("predict", "tiny.safetensors", "images/[x].png")[1].startswith("images/[x].png: ")
    code, out, err = cli("predict", "tiny.safetensors", "images/*.jpg")
    assert (code, out) == (1, "")
    assert "no file matches 'images/*.jpg'; check the pattern and the current folder" in err


def test_unreadable_images_are_listed_and_the_rest_is_predicted(cli, model):
    Path("images/a/1.png").write_bytes(b"no image")
    arguments = "predict", "tiny.safetensors", "images", "none.png", "--batch", "1"
    code, out, err = cli(*arguments)
    assert (code, len(out.splitlines())) == (3, 4)
    assert "inceptionzoo: images/a/1.png is not an image that Pillow can read" in err
    assert "No such file or directory: 'none.png'" in err
    assert "2 of 6 images could not be read and were left out" in err
    found = json.loads(cli(*arguments, "--json")[1])["unreadable"]
    assert [row["path"] for row in found] == ["images/a/1.png", "none.png"]
    assert "b'no image'" in found[0]["error"]


def rows_of(path: str) -> list[list[str]]:
    with open(path, newline="") as stream:
        return list(csv.reader(stream))


def test_csv(cli, model):
    code, out, err = cli("predict", "tiny.safetensors", "images", "--csv", "all.csv")
    assert (code, out, err) == (0, "written: all.csv\n", "")
    header, *rows = rows_of("all.csv")
    assert header == ["path", "prediction", *NAMES]
    for (path, best, *values), (image, answer) in zip(rows, iz.predict(model, "images").items(), strict=True):
        assert (path, best) == (image, answer[0][0])
        assert list(map(float, values)) == pytest.approx([dict(answer)[name] for name in NAMES])
    assert json.loads(cli("predict", "tiny.safetensors", "images", "--csv", "top.csv", "--top", "9", "--json")[1])[
        "predictions"
    ]
    header, first, *_ = rows_of("top.csv")
    assert header == ["path", "class_1", "probability_1", "class_2", "probability_2", "class_3", "probability_3"]
    assert first[1] == rows[0][1]
    assert float(first[2]) == max(map(float, rows[0][2:]))
    code, _, err = cli("predict", "tiny.safetensors", "images", "--csv", "none/all.csv")
    assert (code, "--csv none/all.csv: the folder none does not exist" in err) == (1, True)


def test_a_table_does_not_replace_an_image(cli, model):
    before = Path("images/a/0.png").read_bytes()
    for folder, table in (("images", "images/a/0.png"), ("images/b", "images/a/0.png"), ("images", "new.JPG")):
        code, out, err = cli("predict", "tiny.safetensors", folder, "--csv", table)
        assert (code, out) == (1, "")
        assert f"--csv {table} is an image; give the name of a file for the table" in err
    Path("table").symlink_to("images/a/0.png")
    assert "--csv table is an image" in cli("predict", "tiny.safetensors", "table", "--csv", "table")[2]
    assert Path("images/a/0.png").read_bytes() == before
    assert not Path("new.JPG").exists()


def test_names_that_are_not_utf8(cli, model, monkeypatch):
    name = os.fsdecode(b"images/bad\xff.png")
    Path(name).write_bytes(Path("images/a/0.png").read_bytes())
    assert cli("predict", "tiny.safetensors", "images", "--csv", "all.csv")[0] == 0
    rows = Path("all.csv").read_bytes().splitlines()
    assert len(rows) == 7
    assert any(row.startswith(b"images/bad\xff.png,") for row in rows)
    for encoding, expected in (("utf-8", b"images/bad\xff.png: "), ("ascii", b"images/bad\\udcff.png: ")):
        environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
        code = "import sys; from inceptionzoo.cli import main; sys.exit(main(['predict', 'tiny.safetensors', sys.argv[1]]))"
        done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, env=environment, check=False)
        assert done.stdout.startswith(expected), done.stderr


def test_a_model_that_is_not_where_its_path_says(cli, model):
    iz.save_pretrained(model, "run/model")
    for source, text in {
        "run": "run is a folder without config.json, which save_pretrained writes; did you mean run/model?",
        "run/modle": "run/modle does not exist, and is no name of a model either",
        "none.safetensors": "none.safetensors does not exist, and is no name of a model either",
    }.items():
        for command in (("predict", source, "images"), ("evaluate", source, "images"), ("info", source)):
            code, out, err = cli(*command)
            assert (code, out) == (1, "")
            assert text in err
    assert "class_names: cat, dog, owl" in cli("info", "run/model")[1]


def test_folders_that_are_linked_and_that_cannot_be_read(cli, model, monkeypatch):
    Path("linked").mkdir()
    Path("linked/a").symlink_to(Path("images/a").absolute())
    Path("linked/again").symlink_to(".")
    code, out, _ = cli("predict", "tiny.safetensors", "linked")
    assert (code, [line.partition(":")[0] for line in out.splitlines()]) == (
        0,
        ["linked/a/0.png", "linked/a/1.png", "linked/a/2.png"],
    )
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read every folder
    code, out, err = cli("predict", "tiny.safetensors", "images")
    assert (code, out) == (1, "")
    assert "Permission denied: 'images/b'" in err


def test_values_of_a_regression(cli, model):
    model.task = "regression"
    iz.save_weights(model, "values.safetensors")
    (row, *_) = json.loads(cli("predict", "values.safetensors", "images", "--json")[1])["predictions"]
    assert row["values"] == pytest.approx(dict(iz.predict(model, row["path"])), abs=1e-6)
    cli("predict", "values.safetensors", "images", "--csv", "values.csv")
    assert Path("values.csv").read_text().splitlines()[0] == "path,cat,dog,owl"


@pytest.mark.parametrize("form", ["json", "csv", "text"])
def test_an_interrupt_keeps_what_is_finished(cli, model, monkeypatch, form):
    opened, original = [], _predict.open_image

    def open_until_interrupted(path, **options):
        opened.append(path)
        if len(opened) == 4:
            raise KeyboardInterrupt
        return original(path, **options)

    monkeypatch.setattr(_predict, "open_image", open_until_interrupted)
    options = {"json": ["--json"], "csv": ["--csv", "some.csv"], "text": []}[form]
    code, out, _ = cli("predict", "tiny.safetensors", "images", "--batch", "2", *options)
    assert code == 130
    if form == "json":
        result = json.loads(out)
        assert (len(result["predictions"]), result["interrupted"]) == (2, True)
    else:
        lines = Path("some.csv").read_text().splitlines()[1:] if form == "csv" else out.splitlines()
        assert [line[:14] for line in lines] == ["images/a/0.png", "images/a/1.png"]


def test_the_number_of_classes_is_positive(cli, model, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli("predict", "tiny.safetensors", "images", "--top", "0")
    assert "--top" in capsys.readouterr().err
