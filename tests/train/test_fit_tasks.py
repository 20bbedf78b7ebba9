"""fit for each task: losses, columns, class names, and the images that the model remembers."""

import dataclasses
import math
import warnings
from functools import partial

import numpy
import pytest
import torch
from helpers import distance, noise, one_thread
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

import inceptionzoo as iz
from inceptionzoo.evaluation import Task
from inceptionzoo.train._task_options import resolve_monitor

IMAGES = noise(12, 3, 16, 16)
CLASSES = torch.arange(12) % 2
BRIGHT = IMAGES + CLASSES[:, None, None, None]


def split(images: torch.Tensor, targets: torch.Tensor, size: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(images.split(size), targets.split(size), strict=True))


def bce(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits[:, 0], targets.float())


LABELS = (noise(12, 4) > 0).float()
TASKS = {
    "cross entropy": (2, CLASSES, {}, "multiclass"),
    "soft labels": (2, torch.tensor([[0.8, 0.2], [0.1, 0.9]]).repeat(6, 1), {}, "multiclass"),
    "own loss of one logit": (1, CLASSES, {"loss": bce}, "binary"),
    "one logit": (1, CLASSES, {}, "binary"),
    "one logit, soft": (1, 0.1 + 0.8 * CLASSES[:, None], {"loss": nn.BCEWithLogitsLoss()}, "binary"),
    "labels by the loss": (4, LABELS, {"loss": nn.BCEWithLogitsLoss()}, "multilabel"),
    "labels by the task": (4, LABELS.long(), {"task": "multilabel"}, "multilabel"),
    "labels by an own loss": (
        4,
        LABELS,
        {"task": "multilabel", "loss": lambda z, t: (z.sigmoid() - t).square().mean()},
        "multilabel",
    ),
    "values": (1, noise(12, 1), {"loss": nn.MSELoss()}, "regression"),
    "values in double": (1, noise(12).double(), {"loss": nn.HuberLoss()}, "regression"),
    "values by the task": (3, noise(12, 3), {"task": "regression"}, "regression"),
    "values by a function": (3, noise(12, 3), {"loss": partial(F.smooth_l1_loss, beta=0.5)}, "regression"),
}


@pytest.mark.parametrize(("outputs", "targets", "options", "task"), TASKS.values(), ids=TASKS)
def test_every_task(make, tmp_path, outputs, targets, options, task):
    model, data = make(num_classes=outputs), split(BRIGHT, targets)
    history = iz.fit(model, data, data, epochs=2, out=tmp_path, **options)
    row = history.epochs[-1]
    columns = ["mae", "rmse", "r2"] if task == "regression" else ["accuracy", "auc"]
    expected = ["epoch", "lr", "loss", *columns, "val_loss", *(f"val_{name}" for name in columns), "seconds"]
    assert list(row) == expected
    assert all(map(math.isfinite, row.values()))
    assert history.monitor == ("val_loss" if task == "regression" else "val_accuracy")
    assert (tmp_path / "history.csv").read_text().splitlines()[0] == ",".join(expected)
    history.plot(tmp_path / "curves.png")
    result = iz.evaluate(model, data, loss=options.get("loss"))
    assert result.task == model.task == task
    ours = {"loss": result.loss, **result.metrics}
    assert ours == pytest.approx({name: row[f"val_{name}"] for name in ("loss", *columns)}, rel=1e-5)  # channels_last in fit
    assert iz.load_model(tmp_path / "best.safetensors").task == task


@pytest.mark.parametrize("own", [None, nn.MSELoss()], ids=["default", "given"])
def test_values_are_not_broadcast(make, own):
    """Outputs (n, 1) minus targets (n,) would be (n, n)."""
    losses = []
    for targets in (noise(12), noise(12)[:, None]):
        row = iz.fit(make(num_classes=1), split(BRIGHT, targets), epochs=1, task="regression", loss=own).epochs[0]
        losses.append(row["loss"])
        assert row["loss"] == pytest.approx(row["rmse"] ** 2, rel=1e-3)
    assert losses[0] == losses[1]


def test_the_task_of_a_saved_model_is_its_own(make, tmp_path):
    model = make(num_classes=3)
    iz.fit(model, split(BRIGHT, noise(12, 3)), epochs=1, task="regression")
    iz.save_weights(model, tmp_path / "m.safetensors")
    again = iz.load_model(tmp_path / "m.safetensors")
    row = iz.fit(again, split(BRIGHT, noise(12, 3)), epochs=1).epochs[0]
    assert "mae" in row
    other = iz.create_model("tiny", weights=tmp_path / "m.safetensors", num_classes=5)
    assert other.task == "multiclass"


def test_resuming_compares_the_task(make, tmp_path):
    data, labels = split(BRIGHT, LABELS), {"task": "multilabel", "out": tmp_path}
    iz.fit(make(num_classes=4), data, epochs=1, **labels)
    with pytest.warns(UserWarning, match="holds this training, and it is complete"):
        assert len(iz.fit(make(num_classes=4), data, epochs=1, **labels).epochs) == 1
    with pytest.raises(iz.ArgumentError, match="of another training: task was 'multilabel', is None"):
        iz.fit(make(num_classes=4), split(BRIGHT, CLASSES), epochs=1, out=tmp_path)


def test_val_loss_is_the_loss_given(make):
    data = split(BRIGHT, CLASSES, 5)
    row = iz.fit(make(), data, data, epochs=1, loss=lambda logits, targets: logits.sum() * 0 + len(targets)).epochs[0]
    assert row["val_loss"] == row["loss"] == pytest.approx((25 + 25 + 4) / 12)
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]), label_smoothing=0.2)
    model = make()
    row = iz.fit(model, [(BRIGHT, CLASSES)], [(BRIGHT, CLASSES)], epochs=1, loss=weighted).epochs[0]
    assert row["val_loss"] == pytest.approx(weighted(model.eval()(BRIGHT), CLASSES).item(), rel=1e-5)


@one_thread()
def test_accumulation_with_targets_that_are_ignored(make):
    targets = CLASSES.clone()
    targets[[0, 1, 2, 5, 8, 9, 10, 11]] = -100  # of the batches of two, the first and the last two count for nothing
    small, large, loss = make("plain"), make("plain"), nn.CrossEntropyLoss()
    row = iz.fit(small, split(BRIGHT, targets, 2), epochs=2, accumulate=6, loss=loss).epochs[0]
    expected = iz.fit(large, [(BRIGHT, targets)], epochs=2, loss=loss).epochs[0]
    assert {key: row[key] for key in ("loss", "accuracy")} == pytest.approx(
        {key: expected[key] for key in ("loss", "accuracy")}
    )
    for one, other in zip(small.parameters(), large.parameters(), strict=True):
        assert distance(one.detach(), other.detach()) < 1e-4


@pytest.mark.parametrize("weights", [[1, 3], (1.0, 3.0), numpy.array([1.0, 3.0]), torch.tensor([1.0, 3.0])], ids=repr)
def test_class_weights_of_every_kind(make, weights):
    loss = iz.fit(make(), [(BRIGHT, CLASSES)], epochs=1, class_weights=weights).epochs[0]["loss"]
    logits = make().train()(BRIGHT)
    assert loss == pytest.approx(F.cross_entropy(logits, CLASSES, torch.tensor([1.0, 3.0])).item(), rel=1e-4)


@pytest.mark.parametrize("options", [{"class_weights": [1.0]}, {"label_smoothing": 0.1}], ids=str)
def test_options_of_cross_entropy_with_another_task(make, options):
    with pytest.raises(iz.ArgumentError, match=r"are of the cross entropy, and task='binary'.*BCEWithLogitsLoss\(pos_weight"):
        iz.fit(make(num_classes=1), [(BRIGHT, CLASSES)], epochs=1, **options)


@pytest.mark.parametrize(
    ("monitor", "column"), [("rmse", "-val_rmse"), ("-mae", "-val_mae"), ("r2", "val_r2"), (None, "val_loss")]
)
def test_the_smallest_error_is_the_best(make, monitor, column):
    data = split(BRIGHT, noise(12))
    history = iz.fit(make(num_classes=1), data, data, epochs=3, lr=0.3, task="regression", monitor=monitor)
    values = [row[column.removeprefix("-")] for row in history.epochs]
    assert history.monitor == column
    assert history.best[column.removeprefix("-")] == (max if monitor == "r2" else min)(values)
    assert len(set(values)) == 3
    with pytest.raises(iz.ArgumentError, match="monitor='accuracy' must be one of 'loss', 'mae', 'rmse', 'r2'"):
        iz.fit(make(num_classes=1), data, epochs=1, task="regression", monitor="accuracy")


def test_an_image_of_val_that_is_not_finite_stops_training(make, tmp_path):
    bad = BRIGHT.clone()
    bad[7] = math.nan
    with pytest.raises(iz.TrainingError, match=r"outputs for 1 of 12 images of val are not finite after epoch 0: images \[7\]"):
        iz.fit(make(), split(BRIGHT, CLASSES), split(bad, CLASSES), epochs=2, out=tmp_path)
    assert not (tmp_path / "best.safetensors").exists()


def test_images_whose_target_is_ignored_are_not_counted(make):
    bad, targets = BRIGHT.clone(), CLASSES.clone()
    bad[7], targets[:3] = math.nan, -100
    text = r"outputs for 1 of 9 images of val are not finite after epoch 0: images \[4\], not counting ignored targets; check"
    with pytest.raises(iz.TrainingError, match=text):
        iz.fit(make(), split(BRIGHT, CLASSES), split(bad, targets), epochs=1, loss=nn.CrossEntropyLoss())


# --- class names ------------------------------------------------------------------------------------------------------


def named(names: list[str] | None, targets: torch.Tensor = CLASSES, images: torch.Tensor = BRIGHT) -> TensorDataset:
    data = TensorDataset(images, targets)
    if names is not None:
        data.classes = names
    return data


def test_names_come_through_random_split(make):
    first, second = random_split(named(["cat", "dog"]), [8, 4])
    model = make()
    iz.fit(model, DataLoader(first, 4), DataLoader(second, 4), epochs=1)
    assert model.class_names == ("cat", "dog")
    one_logit = make(num_classes=1)
    iz.fit(one_logit, DataLoader(first, 4), epochs=1)
    assert one_logit.class_names == ("cat", "dog")


def test_names_of_an_earlier_task_are_replaced(make):
    model = make()
    model.set_class_names(["ship", "plane"])
    iz.fit(model, DataLoader(named(["cat", "dog"]), 4), epochs=1)
    assert model.class_names == ("cat", "dog")
    with pytest.warns(UserWarning, match=r"classes were \['cat', 'dog'\], those of train are \['dog', 'cat'\]") as warned:
        iz.fit(model, DataLoader(named(["dog", "cat"]), 4), epochs=1)
    assert model.class_names == ("dog", "cat")
    assert warned[0].filename == __file__


def test_val_is_numbered_as_train(make):
    train, val = DataLoader(named(["cat", "dog"]), 4), DataLoader(named(["dog", "cat"], 1 - CLASSES), 4)
    row = iz.fit(make(), train, val, epochs=1, lr=0.0).epochs[0]
    same = iz.fit(make(), train, train, epochs=1, lr=0.0).epochs[0]
    assert (row["val_loss"], row["val_auc"]) == (same["val_loss"], same["val_auc"])
    lacking = DataLoader(named(["dog"], torch.zeros(6, dtype=torch.int64), BRIGHT[1::2]), 3)
    model = make()
    iz.fit(model, train, lacking, epochs=1)
    assert iz.evaluate(model, lacking).targets.tolist() == [1] * 6


@pytest.mark.parametrize(
    ("outputs", "train", "val", "text"),
    [
        (
            1000,
            ["cat", "dog"],
            None,
            r"train has 2 classes, \['cat', 'dog'\], and the model has num_classes=1000; .*num_classes=2",
        ),
        (5, ["cat", "dog"], None, r"num_classes=5; .*reset_classifier\(2\)"),
        (1, ["cat", "dog", "emu"], None, "train has 3 classes, .* and the model has num_classes=1; pass num_classes=3"),
        (2, ["cat", "dog"], ["cat", "emu"], r"val has the classes \['cat', 'emu'\], the model has \['cat', 'dog'\]: 'emu'"),
        (2, None, ["cat", "dog", "emu"], "val has 3 classes"),
    ],
)
def test_classes_that_do_not_fit_are_refused_before_training(make, outputs, train, val, text):
    model = make(num_classes=outputs)
    before = model.head.fc.weight.clone()
    loaders = [DataLoader(named(names), 4) for names in (train, val)]
    with pytest.raises(iz.ArgumentError, match=text):
        iz.fit(model, *loaders, epochs=1)
    assert model.head.fc.weight.equal(before)
    assert model.class_names is None


def test_values_have_no_classes(make):
    model = make(num_classes=1)
    iz.fit(model, DataLoader(named(["young", "old", "older"], CLASSES.float()), 4), epochs=1, task="regression")
    assert model.class_names is None


# --- the images that the model remembers ------------------------------------------------------------------------------

RANGE = noise(8, 3, 16, 16).clamp(-1, 1)  # what a mean and a standard deviation of 0.5 give
HALF = iz.DataConfig(input_size=(3, 16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize(
    ("images", "data", "text"),
    [
        (
            RANGE,
            dataclasses.replace(HALF, input_size=(3, 24, 24)),
            r"have 16 x 16 px, model.data says 24 x 24 px: .*size\(16\)",
        ),
        (RANGE.abs(), HALF, r"have values from 0.0 to 1.0, the mean and std of model.data give -1.0 to 1.0: .*iz.transforms"),
        (RANGE.abs() * 255, HALF, "to 255.0, the mean"),
        (noise(8, 3, 16, 16), HALF, "have values from -4.18 to 3.8"),
        (RANGE, dataclasses.replace(HALF, std=(1 / 255,) * 3), "have values from -1.0 to 1.0, .* give -127.5 to 127.5"),
        (RANGE, dataclasses.replace(HALF, std=(0.2,) * 3), "have values from -1.0 to 1.0, .* give -2.5 to 2.5"),
    ],
    ids=["size", "from 0 to 1", "from 0 to 255", "another normalisation", "from 0 to 255 in the model", "half"],
)
@pytest.mark.filterwarnings("default")
def test_other_images_than_the_model_remembers_warn_once(make, images, data, text):
    model = make()
    model.data = data
    with pytest.warns(UserWarning, match=text) as warned:
        iz.fit(model, [(images, torch.arange(8) % 2)] * 2, epochs=2)
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.filterwarnings("default")
def test_other_images_in_val_or_in_evaluate_warn_once(make):
    model, labels = make(), torch.arange(8) % 2
    model.data = HALF
    good, raw = [(RANGE, labels)] * 2, [(RANGE.abs(), labels)] * 2
    with pytest.warns(UserWarning, match=r"the images of val have values from 0\.0 to 1\.0, .* give -1\.0 to 1\.0") as warned:
        iz.fit(model, good, raw, epochs=2)
    assert [warning.filename for warning in warned] == [__file__]
    with pytest.warns(UserWarning, match=r"the images of loader have values from 0\.0 to 1\.0") as warned:
        iz.evaluate(model, raw)
    assert [warning.filename for warning in warned] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iz.fit(model, good, good, epochs=1)
        iz.evaluate(model, good)


@pytest.mark.parametrize(
    ("outputs", "last", "task"),
    [(2, torch.nn.Softmax(1), "multiclass"), (1, torch.nn.Sigmoid(), "binary"), (2, torch.nn.Sigmoid(), "multilabel")],
    ids=["multiclass", "binary", "multilabel"],
)
def test_a_head_that_returns_probabilities_is_refused(make, outputs, last, task):
    model = make(num_classes=outputs)
    model.task = task
    model.head.fc = torch.nn.Sequential(model.head.fc, last)
    targets = torch.zeros(8, 2) if task == "multilabel" else torch.zeros(8).long()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for use in (
        lambda: iz.predict(model, RANGE[0]),
        lambda: iz.evaluate(model, [(RANGE, targets)]),
        lambda: iz.fit(model, [(RANGE, targets)], epochs=1, task=task),
    ):
        with pytest.raises(iz.ArgumentError, match=f"ends in {type(last).__name__}, but task='{task}' needs logits"):
            use()
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    model.task = "regression"
    iz.predict(model, RANGE[0])  # values from 0 to 1


def test_images_of_the_models_own_transforms_do_not_warn(make):
    from PIL import Image

    model = make()
    pixels = numpy.random.default_rng(0).integers(0, 256, (8, 40, 40, 3), dtype=numpy.uint8)
    pixels[0], pixels[1] = 0, 255
    for data in (HALF, dataclasses.replace(HALF, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))):
        model.data = data
        for training in (False, True):
            prepare = iz.transforms(model, training=training, **({"re_prob": 1.0, "re_mode": "pixel"} if training else {}))
            images = torch.stack([prepare(Image.fromarray(picture)) for picture in pixels])
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                iz.fit(model, [(images, torch.arange(8) % 2)], epochs=1)
    model.data = dataclasses.replace(HALF, mean=(0.0,) * 3, std=(1.0,) * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iz.fit(model, [(RANGE.abs(), torch.arange(8) % 2)], epochs=1)


@pytest.mark.parametrize("name", ["mae", "rmse"])
def test_the_smallest_error_of_the_callers_is_the_best(name):
    assert resolve_monitor(name, {name: len}, Task(3), validates=True) == f"-val_{name}"


@pytest.mark.parametrize("kind", ["module", "function"])
def test_soft_labels_and_the_options_of_a_cross_entropy(make, kind):
    """The validation data has class indices: their loss is the weighted mean without ignored targets, as that of `evaluate`."""
    weight, images = torch.tensor([1.0, 9.0]), noise(4, 3, 8, 8)
    loss = nn.CrossEntropyLoss(weight) if kind == "module" else partial(F.cross_entropy, weight=weight)
    soft, val = [(images, torch.tensor([[0.8, 0.2]] * 4))], [(images, torch.tensor([0, 0, -100, 1]))]
    model = make()
    history = iz.fit(model, soft, val, epochs=1, loss=loss, progress=False)
    assert history.epochs[0]["val_loss"] == pytest.approx(iz.evaluate(model, val, loss=loss).loss, rel=1e-5)
