"""`inceptionzoo train`."""

import json
import os
import warnings
from pathlib import Path

import numpy
import pytest
import torch
from images import write_images
from PIL import Image

import inceptionzoo as iz
from inceptionzoo.cli import _train as train
from inceptionzoo.cli import _training_images as training_images
from inceptionzoo.cli._images import UnreadableImages

QUICK = "--model", "tiny", "--epochs", "2", "--batch", "4", "--out", "run"


@pytest.fixture(autouse=True)
def registered(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder():
    """One folder for each class, with 10, 5 and 5 images."""
    return write_images(Path("pets"), {"cat": 10, "dog": 5, "owl": 5})


@pytest.fixture
def split():
    """The folders train/ and val/."""
    write_images(Path("split/train"), {"cat": 6, "dog": 6})
    write_images(Path("split/val"), {"cat": 2, "dog": 3})
    return Path("split")


def test_train_and_predict(cli, folder):
    code, out, _ = cli("train", folder, *QUICK)
    assert code == 0
    lines = out.splitlines()
    assert lines[1] == "images to train on: 16 (cat 8, dog 4, owl 4)"
    assert lines[2] == "images held out: 4 (cat 2, dog 1, owl 1)"
    assert lines[3] == "epochs: 2, 8 steps in all"
    names = {path.name for path in Path("run").iterdir()}
    plots = {f"{name}.png" for name in ("curves", "roc", "precision_recall", "calibration", "confusion")}
    files = {"best.safetensors", "last.safetensors", "history.csv", "history.json", "model", "command.json"}
    assert names == plots | files
    card = Path("run/model/README.md").read_text()
    assert "Trained on the 16 images of pets/, 2 epochs, seed 0." in card
    assert "balanced_accuracy" in card
    model = iz.create_model("local-dir:run/model")
    assert model.class_names == ("cat", "dog", "owl")
    assert cli("predict", "run/model", "pets/cat/0.png")[0] == 0
    assert json.loads(cli("evaluate", "run/model", folder, "--json")[1])["images"] == 20


@pytest.mark.filterwarnings("always:run holds this training")
def test_the_saved_model_is_that_of_the_best_epoch(cli, split):
    for _ in range(2):  # the second time, the training is complete
        code, out, _ = cli("train", split, *QUICK, "--epochs", "4", "--ema", "0.5")
        aucs = [row["val_auc"] for row in json.loads(Path("run/history.json").read_text())["epochs"]]
        best_epoch = aucs.index(max(aucs)) + 1
        assert (code, best_epoch < len(aucs)) == (0, True)
        best, saved = (iz.load_model(f"run/{name}.safetensors").state_dict() for name in ("best", "model/model"))
        assert best.keys() == saved.keys()
        assert all(torch.equal(value, saved[key]) for key, value in best.items())
        assert f"saved: run/model, the model of epoch {best_epoch}; classify images with" in out
    card = Path("run/model/README.md").read_text()
    assert f"The weights are those of epoch {best_epoch}, chosen by its AUC on the 5 images held out" in card
    assert "the metrics are of the same images, so they are slightly too high." in card


def test_every_fifth_image_of_a_class_is_held_out(folder):
    images = training_images.find_labelled_images(folder)
    assert [path for path, _ in images.val] == ["pets/cat/0.png", "pets/cat/5.png", "pets/dog/0.png", "pets/owl/0.png"]
    assert not {path for path, _ in images.train} & {path for path, _ in images.val}
    assert len(images.train) + len(images.val) == 20


def test_a_dry_run_writes_nothing(cli, folder):
    code, out, _ = cli("train", folder, *QUICK, "--dry-run", "--json", "--adamw", "--ema", "0.9", "--size", "16")
    plan = json.loads(out)
    model = iz.create_model("tiny", num_classes=3)
    model.set_input_size(16)
    assert code == 0
    assert plan["train"] == {"cat": 8, "dog": 4, "owl": 4}
    assert (plan["steps"], plan["input_size"]) == (8, [3, 16, 16])
    assert plan["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert plan["memory"] == iz.train.estimate_memory(model, 4, states=3).total
    large = json.loads(cli("train", folder, *QUICK, "--dry-run", "--json", "--batch", "1000")[1])
    assert (large["steps"], large["memory"]) == (2, iz.train.estimate_memory(iz.create_model("tiny"), 16).total)
    assert not Path("run").exists()
    assert "memory of a step: about 0 MiB" in cli("train", folder, *QUICK, "--dry-run")[1]


def test_the_same_command_continues_and_overwrite_starts_again(cli, split):
    command = "train", split, *QUICK, "--json"
    first = json.loads(cli(*command)[1])["result"]
    written = Path("run/last.safetensors").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = cli(*command)
    assert (code, json.loads(out)["result"]) == (0, first)
    assert "inceptionzoo: warning: run holds this training, and it is complete" in err
    assert Path("run/last.safetensors").read_bytes() == written
    code, _, err = cli(*command, "--lr", "0.5")
    assert (code, "run/last.safetensors is of another training: lr was" in err) == (1, True)
    assert cli(*command, "--lr", "0.5", "--overwrite")[0] == 0
    assert Path("run/last.safetensors").read_bytes() != written


def test_another_training_is_refused_before_an_image_is_read(cli, split, monkeypatch):
    """`fit` cannot see these differences: weights, augmentation, and other images as many as before."""
    iz.save_weights(iz.create_model("tiny", num_classes=2), "start.safetensors")
    command = "train", split, *QUICK, "--weights", "start.safetensors"
    assert cli(*command)[0] == 0
    saved = Path("run/model/model.safetensors").read_bytes()
    write_images(Path("other/train"), {"cat": 6, "dog": 6}, size=(14, 9))
    write_images(Path("other/val"), {"cat": 2, "dog": 3}, size=(14, 9))
    monkeypatch.setattr(training_images, "open_image", None)
    for arguments, text in (
        (("train", "other", *command[2:]), "--out run holds a training of other images; pass another --out, or --overwrite"),
        ((*command, "--augment"), "--out run holds a training with another --augment"),
        ((*command, "--drop-rate", "0.5"), "--out run holds a training with another --drop-rate"),
        (command[:-2], "--out run holds a training with another --weights"),
        (("train", split, *QUICK[:-1], "start.safetensors"), "--out start.safetensors is a file, and must be a folder"),
    ):
        code, _, err = cli(*arguments)
        assert (code, text in err) == (1, True), err
    for text in ("{", "7", '"é"'):
        Path("run/command.json").write_text(text, "latin-1")
        assert "run/command.json does not describe a training: " in cli(*command)[2]
    assert Path("run/model/model.safetensors").read_bytes() == saved
    monkeypatch.undo()


def test_the_figures_are_those_of_the_saved_model_on_the_files(cli, split):
    """The images are larger than those that the training keeps in memory."""
    for part, count in (("train", 6), ("val", 8)):
        write_images(split / part, {"cat": count, "dog": count}, size=(40, 31))
    for folder in (split / "val").iterdir():
        for index, path in enumerate(sorted(folder.iterdir())):
            noise = numpy.random.default_rng(index).integers(0, 256, (31, 40, 3), dtype=numpy.uint8)
            Image.fromarray(noise).save(path)
    figures = json.loads(cli("train", split, *QUICK, "--json")[1])["result"]
    again = json.loads(cli("evaluate", "run/model", split / "val", "--json")[1])
    numbers = [key for key, value in figures.items() if not isinstance(value, list)]
    assert [again[key] for key in numbers] == pytest.approx([figures[key] for key in numbers], abs=1e-5)
    assert again["confusion"] == figures["confusion"]


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "99999999999999999999"), ("--seed", "-1"), ("--workers", "-1"), ("--lr", "-1"), ("--lr", "nan"),
        ("--ema", "1"), ("--label-smoothing", "1.5"), ("--drop-rate", "-0.1"), ("--warmup-epochs", "-1"), ("--size", "0"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_values_outside_their_range_are_refused_at_once(cli, split, capsys, options):
    with pytest.raises(SystemExit, match="2"):
        cli("train", split, *QUICK, *options)
    assert f"argument {options[0]}: {options[1]!r} must be " in capsys.readouterr().err


def test_options_that_depend_on_others_are_refused_at_once(cli, split):
    for options, text in (
        (("--warmup-epochs", "2"), "--warmup-epochs 2 must be at most 1 with --epochs 2"),
        (("--freeze-epochs", "3"), "--freeze-epochs 3 must be at most 2 with --epochs 2"),
        (("--device", "meta"), "--device meta holds no values; use cpu or a GPU"),
    ):
        code, out, err = cli("train", split, *QUICK, "--dry-run", *options)
        assert (code, out, text in err) == (1, "", True), err


def test_the_options_reach_fit(cli, split, monkeypatch):
    calls = []
    original = train.fit

    def fit(model, batches, held_out, **arguments):
        calls.append((model, model.report, batches, held_out, arguments))
        return original(model, batches, held_out, **arguments)

    monkeypatch.setattr(train, "fit", fit)
    iz.save_weights(iz.create_model("tiny", num_classes=7), "start.safetensors")
    options = ("--weights", "start.safetensors", "--freeze-epochs", "1", "--warmup-epochs", "1", "--layer-decay", "0.5")
    more = ("--label-smoothing", "0.1", "--seed", "5", "--drop-rate", "0.25", "--size", "12", "--augment", "--lr", "0.01")
    assert cli("train", split, *QUICK, *options, *more)[0] == 0
    model, report, batches, held_out, arguments = calls.pop()
    expected = {"epochs": 2, "freeze_epochs": 1, "warmup_epochs": 1, "layer_decay": 0.5, "label_smoothing": 0.1, "seed": 5}
    assert expected.items() <= arguments.items()
    assert {"lr": 0.01, "resume": "auto", "monitor": "auc", "class_weights": None}.items() <= arguments.items()
    assert report.left_random == ["head.fc.weight", "head.fc.bias"]
    assert model.head.drop.p == 0.25
    images, _ = next(iter(batches))
    assert images.shape == (4, 3, 12, 12)
    assert batches.dataset.classes == held_out.dataset.classes == ["cat", "dog"]
    assert (len(batches), len(held_out)) == (3, 2)


def test_adamw_and_balanced_classes(cli, folder, monkeypatch):
    calls = []
    monkeypatch.setattr(train, "fit", lambda *_, **arguments: calls.append(arguments) or stop())

    def stop():
        raise iz.TrainingError("stop")

    assert cli("train", folder, *QUICK, "--adamw", "--balance", "--ema", "0.9")[0] == 1
    (arguments,) = calls
    assert (arguments["optimizer"], arguments["lr"]) == ("adamw", None)
    assert arguments["class_weights"].tolist() == pytest.approx([0.6, 1.2, 1.2])  # of 8, 4 and 4 images
    assert arguments["ema"] == 0.9


@pytest.mark.filterwarnings("always:run holds this training")
def test_an_interrupted_training_continues(cli, split, monkeypatch):
    original = train.fit

    def fit_one_epoch(*arguments, **options):
        def interrupt(_, row):
            if row["epoch"] == 0:
                raise KeyboardInterrupt

        return original(*arguments, **options, callbacks=[interrupt])

    expected = json.loads(cli("train", split, *QUICK, "--json", "--out", "whole")[1])["result"]
    monkeypatch.setattr(train, "fit", fit_one_epoch)
    code, out, err = cli("train", split, *QUICK, "--json")
    assert (code, out) == (130, "")
    assert "interrupted; the same command continues after the last epoch in run" in err
    monkeypatch.setattr(train, "fit", original)
    assert json.loads(cli("train", split, *QUICK, "--json")[1])["result"] == expected
    assert len(Path("run/history.csv").read_text().splitlines()) == 3
    assert "it is complete; pass --overwrite to train again" in cli("train", split, *QUICK)[2]
    code, _, err = cli("train", split, *QUICK, "--lr", "0.5")
    assert (code, "is of another training" in err, "another folder as --out, or --overwrite" in err) == (1, True, True)


def test_random_weights_get_the_statistics_of_the_images(cli, split):
    assert cli("train", split, *QUICK)[0] == 0
    pixels = torch.stack([torch.tensor((20, 3 * index, 200)) for index in range(6)])
    pixels = torch.cat([pixels, torch.stack([torch.tensor((80, 3 * index, 140)) for index in range(6)])]) / 255
    data = iz.create_model("local-dir:run/model").data
    assert data.mean == pytest.approx(pixels.mean(0).tolist(), abs=1e-4)
    assert data.std == pytest.approx(pixels.std(0, correction=0).tolist(), abs=1e-4)
    iz.save_weights(iz.create_model("tiny", num_classes=2), "start.safetensors")
    assert cli("train", split, *QUICK, "--weights", "start.safetensors", "--overwrite")[0] == 0
    assert iz.create_model("local-dir:run/model").data.mean == iz.create_model("tiny").data.mean


def test_unreadable_images_are_left_out(cli, split):
    Path("split/train/cat/0.png").write_bytes(b"no image")
    Path("split/val/dog/0.png").unlink()
    Path("split/val/dog/0.png").symlink_to("none.png")
    code, out, err = cli("train", split, *QUICK, "--json")
    assert code == 3
    assert [row["path"] for row in json.loads(out)["unreadable"]] == ["split/train/cat/0.png", "split/val/dog/0.png"]
    assert "2 of 17 images could not be read and were left out" in err
    assert "Trained on the 11 images" in Path("run/model/README.md").read_text()
    for path in Path("split/val/cat").iterdir():
        path.write_bytes(b"no image")
    code, _, err = cli("train", split, *QUICK, "--overwrite")
    assert (code, "class 'cat' has no image held out; add images or remove its folder" in err) == (1, True)


def test_a_folder_whose_name_is_not_utf8(cli):
    folder = write_images(Path(os.fsdecode(b"p\xe9ts")), {"cat": 6, "dog": 6})
    assert cli("train", folder, *QUICK)[0] == 0
    assert "Trained on the 8 images of p?ts/, 2 epochs" in Path("run/model/README.md").read_text("utf-8")


def test_an_unreadable_image_does_not_use_up_a_class(cli):
    """The first of four images is held out, unless it cannot be read."""
    folder = write_images(Path("pets"), {"cat": 4, "dog": 4})
    Path("pets/cat/0.png").write_bytes(b"no image")
    code, out, _ = cli("train", folder, *QUICK, "--json")
    assert code == 3
    assert json.loads(out)["result"]["images"] == 2
    assert "Trained on the 5 images" in Path("run/model/README.md").read_text()


def test_folders_that_cannot_be_used(cli, folder, split):
    write_images(split / "val", {"fox": 1})
    code, out, err = cli("train", split, *QUICK)
    assert (code, out) == (1, "")
    assert "train/ has the classes ['cat', 'dog'], val/ has ['cat', 'dog', 'fox']" in err
    write_images(Path("one"), {"cat": 5, "dog": 1})
    assert "class 'dog' has no image to train on" in cli("train", "one", *QUICK)[2]
    assert "No such file or directory: 'none'" in cli("train", "none", *QUICK)[2]
    write_images(Path("single"), {"cat": 5})
    assert "single has one class folder, ['cat']; give the folder of two classes or more" in cli("train", "single", *QUICK)[2]
    text = "single/cat has no folder for each class; if it holds the images of one class, give the folder above"
    assert text in cli("train", "single/cat", *QUICK)[2]
    assert "--size 8: " in cli("train", folder, "--model", "googlenet", "--size", "8", "--dry-run")[2]
    write_images(Path("bytes"), {"cat": 5, os.fsdecode(b"do\xe9"): 5})
    assert "has a name that cannot be printed; rename it" in cli("train", "bytes", *QUICK)[2]
    with pytest.raises(SystemExit, match="2"):
        cli("train", folder, "--pretrained", "--weights", "a.pth")


def test_folders_of_parts_are_no_classes(cli):
    for first, second in (("Training", "Testing"), ("train", "test"), ("training_set", "test_set")):
        folder = f"{first}-{second}"
        for part in (first, second):
            write_images(Path(folder) / part, {"cat": 6, "dog": 6})
        code, out, err = cli("train", folder, *QUICK, "--dry-run")
        assert (code, out) == (1, "")
        names = " and ".join(sorted((f"{first}/", f"{second}/")))
        assert f"{folder} has {names}; name the folder to train on train/, and the one to hold out val/" in err
    write_images(Path("vehicles"), {"car": 6, "test": 6, "train": 6})  # names of classes
    assert "(car 4, test 4, train 4)" in cli("train", "vehicles", *QUICK, "--dry-run")[1]


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX"])
@pytest.mark.parametrize("count", [0, 6])
def test_folders_that_programs_make_are_no_classes(cli, folder, split, name, count):
    for parent in (folder, split / "train"):
        (parent / name).mkdir()
        write_images(parent, {name: count})
        code, out, err = cli("train", parent if parent == folder else split, *QUICK, "--dry-run")
        assert (code, out) == (1, "")
        assert f"{parent} has the folder {name}, which would be taken for a class; remove it" in err


def test_hidden_folders_of_a_class_are_refused(cli, folder):
    (folder / "cat" / ".empty").mkdir()
    assert cli("train", folder, *QUICK, "--dry-run")[0] == 0
    write_images(folder / "cat", {".ipynb_checkpoints": 1})
    for command in (("train", folder, *QUICK, "--dry-run"), ("evaluate", "googlenet", folder)):
        code, out, err = cli(*command)
        assert (code, out) == (1, "")
        assert f"{folder / 'cat' / '.ipynb_checkpoints'} is hidden, but its images would be taken for those of a class" in err


def test_results_do_not_become_a_class(cli, folder, split, monkeypatch):
    for source, out in ((folder, "pets/run"), (split, "split/train/run")):
        code, _, err = cli("train", source, *QUICK[:-1], out)
        root = Path(out).parent
        assert (code, f"--out {out} is inside {root}, whose folders are the classes; pass a folder outside" in err) == (1, True)
        assert not Path(out).exists()
    assert cli("train", split, *QUICK[:-1], "split/run", "--dry-run")[0] == 0
    monkeypatch.chdir(folder)
    assert "--out runs/train is inside ., whose folders" in cli("train", ".", *QUICK[:-2])[2]


def test_an_interrupt_does_not_mix_two_trainings(cli, split, monkeypatch):
    """With --overwrite and an interrupt in the first epoch, the state of the old training is gone."""
    write_images(Path("other/train"), {"cat": 6, "dog": 6}, size=(14, 9))
    write_images(Path("other/val"), {"cat": 2, "dog": 3}, size=(14, 9))
    expected = json.loads(cli("train", "other", *QUICK, "--json", "--out", "new")[1])["result"]
    assert cli("train", split, *QUICK)[0] == 0

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for place, changes in (("read_images", False), ("fit", True)):
        state = Path("run/last.safetensors").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(train, place, interrupt)
            assert cli("train", "other", *QUICK, "--overwrite")[0] == 130
        assert Path("run/last.safetensors").exists() != changes
        assert changes or Path("run/last.safetensors").read_bytes() == state
    assert json.loads(cli("train", "other", *QUICK, "--json")[1])["result"] == expected


def test_the_command_that_continues_does_not_overwrite(cli, split, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit", interrupt)
    assert "interrupted; the same command without --overwrite continues after" in cli("train", split, *QUICK, "--overwrite")[2]


@pytest.mark.parametrize(("channels", "code"), [(1, 0), (2, 1), (4, 0)])
def test_channels(cli, split, channels, code):
    iz.save_pretrained(iz.create_model("tiny", in_chans=channels), "start")
    found, _, err = cli("train", split, *QUICK, "--model", "local-dir:start", "--augment")
    assert found == code
    assert ("a model of in_chans=2 takes no image file" in err) == (channels == 2)
    if code == 0:
        assert cli("evaluate", "run/model", split / "val")[0] == 0


def test_images_that_do_not_fit_into_memory_are_read_again(split, monkeypatch):
    images = training_images.find_labelled_images(split)
    reads, original = [], training_images.open_image
    monkeypatch.setattr(training_images, "open_image", lambda path, **options: reads.append(path) or original(path, **options))
    for limit, count in ((1 << 20, 17), (100, 34)):
        monkeypatch.setattr(training_images, "MAX_CACHE", limit)
        reads.clear()
        loader = training_images.ResizedImages(8, 3, 17)
        training_images.read_images(images, loader, UnreadableImages())
        assert {loader(path).size for path, _ in (*images.train, *images.val)} == {(10, 8)}
        assert len(reads) == count


@pytest.mark.parametrize("augment", [False, True])
def test_training_images_are_crops_at_a_fixed_scale(split, augment):
    model = iz.create_model("tiny")
    images = training_images.find_labelled_images(split)
    loader = training_images.ResizedImages(9, 3, 17)
    train_set, val_set = training_images.make_data_sets(images, model, loader, augment=augment)
    assert (len(train_set), len(val_set)) == (12, 5)
    assert train_set[0][0].shape == val_set[0][0].shape == (3, 8, 8)
    different = {tuple(train_set[0][0].mean((1, 2)).tolist()) for _ in range(20)}
    assert (len(different) > 5) == augment  # one colour, brightened or not
