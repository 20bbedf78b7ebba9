"""fit: defaults, schedule, records, and invalid arguments."""

import copy
import json
import math
import random
import sys

import numpy
import pytest
import torch
from helpers import noise, one_thread
from sklearn.datasets import load_digits
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import inceptionzoo as iz
from inceptionzoo.train import recipe
from inceptionzoo.weights._safetensors import read_safetensors

# the rates in the log of the script that this library replaces, by epoch: 200 epochs, lr 0.025
LOGGED_RATES = {
    11: 0.024743364840344905,
    69: 0.018002294394417008,
    163: 0.001844920924931094,
    198: 3.855472768161031e-07,
    199: 0.0,
}


def batches(
    count: int = 4, size: int = 8, classes: int = 2, seed: int = 0, gap: float = 1.0
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of noise whose brightness depends on the class."""
    random = torch.Generator().manual_seed(seed)
    targets = [torch.arange(size) % classes for _ in range(count)]
    return [(torch.randn(size, 3, 16, 16, generator=random) + gap * target[:, None, None, None], target) for target in targets]


@pytest.mark.filterwarnings("ignore:batch normalisation computes its statistics on a batch of 2")
def test_schedule_gives_the_logged_rates(tiny):
    epochs = 200
    used = [row["lr"] for row in iz.fit(tiny, batches(1, 2), epochs=epochs).epochs]
    for epoch, rate in enumerate(used):
        assert rate == pytest.approx(0.0125 * (1 + math.cos(math.pi * epoch / epochs)), abs=1e-15)
    # the script stepped the schedule before the epoch, and logged get_lr() of a schedule that had already stepped
    for epoch, logged in LOGGED_RATES.items():
        following = used[epoch + 1] if epoch + 1 < epochs else 0.0
        ratio = (1 + math.cos(math.pi * (epoch + 1) / epochs)) / (1 + math.cos(math.pi * epoch / epochs))
        assert following * ratio == pytest.approx(logged, abs=1e-15)
    assert used[11] != pytest.approx(LOGGED_RATES[11], abs=1e-6)  # the logged rate is not the rate of that epoch


def test_recipe_defaults_come_from_the_registry_entry():
    for name, lr, decay in (("googlenet", 0.025, 3e-4), ("vgg16_bn", 0.002, 5e-4), ("vgg16", 0.01, 5e-4)):
        optimizer, _ = recipe(iz.create_model(name, device="meta"), 200)
        assert isinstance(optimizer, SGD)
        group = optimizer.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (lr, 0.9, decay)
    optimizer, scheduler = recipe(iz.create_model("googlenet", device="meta"), 7, lr=0.1, momentum=0.0, weight_decay=0.0)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.0, 0.0)
    assert scheduler.get_last_lr() == [0.1]


def test_training_learns_and_saves_the_best_epoch(tiny, tmp_path):
    val = batches(seed=1)
    history = iz.fit(tiny, batches(), val, epochs=12, out=tmp_path, seed=0)
    assert history.epochs[-1]["val_accuracy"] > 0.9
    assert history.epochs[-1]["loss"] < 0.5 * history.epochs[0]["loss"]
    assert history.monitor == "val_accuracy"
    best = iz.load_model(tmp_path / "best.safetensors")
    assert iz.evaluate(best, val).accuracy == history.best["val_accuracy"] == max(r["val_accuracy"] for r in history.epochs)
    result = iz.evaluate(tiny, val)  # the model itself has the last epoch's weights
    assert result.accuracy == history.epochs[-1]["val_accuracy"]
    assert result.loss == pytest.approx(history.epochs[-1]["val_loss"], rel=1e-6)  # fit evaluated it in channels_last
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert rows[0] == "epoch,lr,loss,accuracy,auc,val_loss,val_accuracy,val_auc,seconds"
    assert len(rows) == 13


def test_monitor_a_loss(tiny, tmp_path):
    history = iz.fit(tiny, batches(), epochs=4, out=tmp_path, monitor="loss", lr=0.05)
    assert history.best["loss"] == min(row["loss"] for row in history.epochs)
    assert "val_loss" not in history.epochs[0]


@pytest.mark.filterwarnings("ignore:batch normalisation computes its statistics on a batch of 2")
def test_metrics_are_computed_over_the_epoch(tiny):
    """The script that this library replaces printed the AUC of each batch of two images: nan, 0 or 1."""
    train = batches(16, 2, gap=0.02)
    row = iz.fit(tiny, train, train, epochs=1, lr=0.0, momentum=0.0, weight_decay=0.0).epochs[0]
    seen = set()
    for images, targets in train:
        seen.add(iz.fit(tiny, [(images, targets)], epochs=1, lr=0.0).epochs[0]["auc"])
    assert seen <= {0.0, 0.5, 1.0}
    assert 0 < row["auc"] < 1
    one_class = [(images, torch.zeros_like(targets)) for images, targets in train]
    assert math.isnan(iz.fit(tiny, one_class, one_class, epochs=1).epochs[0]["val_auc"])


def test_real_images():
    digits = load_digits()
    chosen = digits.target < 2
    images = torch.tensor(digits.images[chosen] / 16, dtype=torch.float32)[:, None].repeat(1, 3, 1, 1)
    images = torch.nn.functional.interpolate(images, size=32, mode="bilinear")
    data = TensorDataset(images, torch.tensor(digits.target[chosen]))
    train, val = torch.utils.data.random_split(data, [280, len(data) - 280], torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = iz.create_model("googlenet", num_classes=2)
    history = iz.fit(model, DataLoader(train, 16, shuffle=True, drop_last=True), DataLoader(val, 40), epochs=3)
    assert history.epochs[-1]["val_accuracy"] > 0.9


def test_auxiliary_heads_add_their_weighted_losses():
    torch.manual_seed(0)
    model = iz.with_aux(iz.create_model("googlenet", num_classes=2, drop_rate=0.0))
    for head in model.aux.values():
        head.head.drop.p = 0.0
    images, targets = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1])
    logits, taps = model.train().forward_aux(images)
    entropy = torch.nn.functional.cross_entropy
    expected = entropy(logits, targets) + 0.3 * sum(entropy(tap, targets) for tap in taps.values())
    before = model.aux["inception4a"].head.fc.weight.clone()
    row = iz.fit(model, [(images, targets)], epochs=1, channels_last=False).epochs[0]
    assert row["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert not model.aux["inception4a"].head.fc.weight.equal(before)


def test_custom_optimizer_scheduler_loss_and_callbacks(tiny):
    optimizer = SGD(tiny.parameters(), lr=1.0)
    calls = []
    rows = iz.fit(
        tiny,
        batches(1),
        epochs=3,
        optimizer=optimizer,
        scheduler=StepLR(optimizer, 1, 0.1),
        loss=lambda logits, targets: 7 + 0 * logits.sum(),
        callbacks=[lambda model, row: calls.append((model is tiny, row["epoch"]))],
    ).epochs
    assert [row["lr"] for row in rows] == pytest.approx([1.0, 0.1, 0.01])
    assert [row["loss"] for row in rows] == [7, 7, 7]
    assert calls == [(True, 0), (True, 1), (True, 2)]


def label_smoothing(log_probabilities, targets):
    """Cross entropy with targets of 0.85 = 1 - 0.3 + 0.3 / 2 for the true class, and 0.15 = 0.3 / 2 for the other."""
    truth = torch.full_like(log_probabilities, 0.15)
    truth[torch.arange(len(targets)), targets] = 0.85
    return -(truth * log_probabilities).sum() / len(targets)


def class_weights(log_probabilities, targets):
    """The weighted mean, divided by the sum of the weights of the images."""
    weights = torch.where(targets == 0, 1.0, 9.0)
    return -(weights * log_probabilities[torch.arange(len(targets)), targets]).sum() / weights.sum()


def squared_error(log_probabilities, targets):
    """The mean over the images of the squared error of the probability of class 1."""
    return ((log_probabilities.exp()[:, 1] - targets) ** 2).mean()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, lambda logs, targets: -logs[torch.arange(len(targets)), targets].mean()),
        ({"label_smoothing": 0.3}, label_smoothing),
        ({"class_weights": torch.tensor([1.0, 9.0])}, class_weights),
        ({"loss": lambda logits, targets: ((logits.softmax(1)[:, 1] - targets) ** 2).mean()}, squared_error),
    ],
    ids=["cross entropy", "label_smoothing", "class_weights", "loss"],
)
def test_loss_and_gradient_have_the_expected_values(make, options, expected):
    """The loss and one step of plain SGD, computed here from the logits; the classes have 3 and 5 images."""
    model, reference = make(), make().train()
    images, _ = batches(1)[0]
    targets = torch.tensor([0, 1, 1, 0, 1, 1, 0, 1])
    row = iz.fit(model, [(images, targets)], epochs=1, lr=0.5, momentum=0.0, weight_decay=0.0, **options).epochs[0]
    loss = expected(reference(images).log_softmax(1), targets)
    loss.backward()
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-5)
    weight = reference.head.fc.weight
    assert (weight.grad.abs() > 1e-4).all()
    assert model.head.fc.weight.detach().numpy() == pytest.approx((weight - 0.5 * weight.grad).detach().numpy(), abs=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_not_finite_stops_training(tiny, tmp_path, accumulate):
    good, bad = batches(2), batches(3)
    bad[1][0][0] = math.nan
    iz.fit(tiny, good, good, epochs=1, out=tmp_path)
    kept = (tmp_path / "best.safetensors").read_bytes()
    before = tiny.features.conv1.conv.weight.clone()
    with pytest.raises(
        iz.TrainingError, match="the loss is nan in step 1 of epoch 0, with lr=0.025; images .8. of the epoch are not finite"
    ):
        iz.fit(tiny, bad, good, epochs=2, out=tmp_path, resume=False, accumulate=accumulate)
    assert (tmp_path / "best.safetensors").read_bytes() == kept
    assert tiny.features.conv1.conv.weight.isfinite().all()
    assert tiny.features.conv1.conv.weight.equal(before) is (accumulate == 2)  # the first step was not taken


@pytest.mark.parametrize("options", [{}, {"ema": 0.5}], ids=str)
def test_a_gradient_that_is_not_finite_stops_training(make, tmp_path, options):
    """The loss of its step is finite, and no other step follows in the epoch. The first epoch is the best one."""

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        value = torch.nn.functional.cross_entropy(logits, targets)
        return value + (logits.sum() * 0).abs().sqrt() if len(calls) == 2 else value

    for out in (None, tmp_path):
        calls: list[int] = []
        with pytest.raises(
            iz.TrainingError,
            match=r"the weights are invalid after epoch 1, with lr=1e-06, although each loss .*; use a smaller lr",
        ):
            iz.fit(make(), batches(1), epochs=3, loss=loss, lr=1e-6 * 4 / 3, out=out, **options)
    history = iz.fit(make(), batches(1), epochs=3, loss=loss, lr=1e-6 * 4 / 3, out=tmp_path, **options)
    assert [row["epoch"] for row in history.epochs] == [0, 1, 2]


class Folder(TensorDataset):
    classes = ("benign", "malignant")


def test_class_names_come_from_the_data(tiny, tmp_path):
    images, targets = batches(1)[0]
    iz.fit(tiny, DataLoader(Folder(images, targets), 8), epochs=1, out=tmp_path)
    assert iz.load_model(tmp_path / "best.safetensors").class_names == ("benign", "malignant")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "epochs=0 must be an int from 1 to"),
        ({"epochs": 1, "lr": -0.1}, "lr=-0.1 must be a finite number"),
        ({"epochs": 1, "momentum": math.nan}, "momentum=nan"),
        ({"epochs": 1, "monitor": "accurracy"}, "did you mean 'accuracy'?"),
        ({"epochs": 1, "monitor": "val_auc"}, "monitor='val_auc' must be one of 'loss', 'accuracy', 'auc'"),
        ({"epochs": 1, "loss": torch.nn.CrossEntropyLoss(), "label_smoothing": 0.1}, "no effect with a loss of your own"),
        ({"epochs": 1, "label_smoothing": 1.5}, "label_smoothing=1.5"),
        ({"epochs": 1, "class_weights": torch.ones(3)}, r"class_weights of shape (3,) must have shape (2,)"),
        ({"epochs": 1, "class_weights": torch.tensor([1.0, math.nan])}, "(2,): number 1=nan must be a finite number"),
        ({"epochs": 1, "class_weights": {0: 1.0}}, "class_weights={0: 1.0} must be a list, an array or a Tensor of 2 numbers"),
        ({"epochs": 1, "scheduler": "cosine"}, "needs the optimizer that it steps"),
        ({"epochs": 1, "seed": 2**64}, "seed=18446744073709551616 must be an int from -9223372036854775808 to"),
        ({"epochs": 1, "device": "cuda:99"}, "device='cuda:99' is not available: torch finds"),
        ({"epochs": 1, "device": "gpu"}, "device='gpu' must be a torch device"),
        ({"epochs": 4, "warmup_epochs": 4}, "epochs=4: warmup_epochs=4 must be an int from 0 to 3"),
        ({"epochs": 4, "freeze_epochs": 5}, "epochs=4: freeze_epochs=5 must be an int from 0 to 4"),
        ({"epochs": 4, "patience_epochs": 0}, "patience_epochs=0 must be an int from 1"),
        ({"epochs": 1, "layer_decay": -1}, "layer_decay=-1 must be a finite number"),
        ({"epochs": 1, "metrics": {"f1": max}}, "metrics=['f1'] are computed on the validation data; pass val too"),
        ({"epochs": 1, "val": [()], "metrics": {"auc": max}}, "metrics: 'auc' is a column of the history already"),
        ({"epochs": 1, "val": [()], "metrics": [max]}, "must be a dict of functions of a Result"),
        ({"epochs": 1, "val": [()], "metrics": {"kappa": max}, "monitor": "kapa"}, "did you mean 'kappa'"),
        ({"epochs": 1, "val": []}, "val has no batch; a DataLoader with drop_last=True needs a whole batch"),
        ({"epochs": 1, "callbacks": [7]}, "callbacks=[7] must be a list of functions"),
    ],
)
def test_invalid_arguments_change_nothing(tiny, options, text):
    before, state = tiny.features.conv1.conv.weight.clone(), torch.get_rng_state()
    with pytest.raises(iz.ArgumentError) as error:
        iz.fit(tiny, batches(1), **{"seed": 1, **options})
    assert text in str(error.value)
    assert tiny.features.conv1.conv.weight.equal(before)
    assert torch.get_rng_state().equal(state)
    assert not tiny.is_channels_last


def test_a_callback_may_add_a_column(make, tmp_path):
    """Also in the last row, and as a number of NumPy or torch."""
    values = iter([numpy.float32(1.5), torch.tensor(2.5), 3])

    def add(_: iz.Net, row: dict[str, float]) -> None:
        row["extra"] = next(values)

    history = iz.fit(make(), batches(1), epochs=3, callbacks=[add], out=tmp_path)
    assert [row["extra"] for row in history.epochs] == [1.5, 2.5, 3]
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in lines] == ["extra", "1.5", "2.5", "3"]
    assert json.loads((tmp_path / "history.json").read_text())["epochs"][-1]["extra"] == 3
    with pytest.warns(UserWarning, match="holds this training, and it is complete"):
        assert iz.fit(make(), batches(1), epochs=3, out=tmp_path).epochs == history.epochs


@pytest.mark.parametrize("value", ["good", None, torch.zeros(2)], ids=str)
def test_a_column_of_a_callback_must_be_a_number(tiny, value):
    with pytest.raises(iz.TrainingError, match=r"callbacks: row\['extra'\]=.* must be a number; keep other values elsewhere"):
        iz.fit(tiny, batches(1), epochs=1, callbacks=[lambda _, row: row.update(extra=value)])


def test_callbacks_may_be_a_generator(tiny):
    seen: list[float] = []
    iz.fit(tiny, batches(1), epochs=2, callbacks=(call for call in [lambda _, row: seen.append(row["epoch"])]))
    assert seen == [0, 1]


@pytest.mark.parametrize(
    "batch", [7, (torch.zeros(1),), {"image": 1, "label": 2}, (torch.zeros(2, 3, 32, 32), [0, 1])], ids=str
)
def test_a_batch_that_is_not_two_tensors(tiny, batch):
    for call in (lambda data: iz.fit(tiny, data, epochs=1), lambda data: iz.evaluate(tiny, data)):
        with pytest.raises(iz.ArgumentError, match=r"must be two Tensors, \(images, targets\)"):
            call([batch])
        with pytest.raises(iz.ArgumentError, match="must be a DataLoader, or a list of"):
            call({"image": 1})


def test_a_nameless_network_with_code_cannot_be_saved(tiny, tmp_path):
    nameless = iz.build(tiny.network, act=torch.nn.GELU)
    nameless.reset_classifier(2)
    assert iz.fit(nameless, batches(1), epochs=1).epochs
    with pytest.raises(iz.ArgumentError, match=r"needs a model that can be saved: style\.act=.* call register_model"):
        iz.fit(nameless, batches(1), epochs=1, out=tmp_path)


def test_no_batch(tiny, tmp_path):
    images, targets = batches(1, 4)[0]
    state = torch.get_rng_state()
    with pytest.raises(iz.ArgumentError, match="train has no batch; a DataLoader with drop_last=True needs a whole batch"):
        iz.fit(tiny, DataLoader(TensorDataset(images, targets), 8, drop_last=True), epochs=1, out=tmp_path / "a", seed=1)
    assert not (tmp_path / "a").exists()
    assert torch.get_rng_state().equal(state)
    with pytest.raises(iz.ArgumentError, match="no batch in epoch 0; a DataLoader with drop_last=True needs a whole batch"):
        iz.fit(tiny, iter([]), epochs=1)
    with pytest.raises(iz.ArgumentError, match="train is a generator, which can be read only once, and epochs=2"):
        iz.fit(tiny, (batch for batch in batches(1)), epochs=2)


def test_recipe_arguments_have_no_effect_with_an_optimizer(tiny):
    for name in ("lr", "layer_decay", "warmup_epochs"):
        value = 1 if name == "warmup_epochs" else 0.0
        with pytest.raises(iz.ArgumentError, match=rf"{name}={value} has no effect with an optimizer of your own"):
            iz.fit(tiny, batches(1), epochs=2, optimizer=SGD(tiny.parameters(), lr=1.0), **{name: value})


def test_invalid_targets_and_images(tiny):
    images, targets = batches(1)[0]
    with pytest.raises(iz.ArgumentError, match=r"targets from 0 to 2 must lie in 0..1; the model has num_classes=2"):
        iz.fit(tiny, [(images, targets * 2)], epochs=1)
    with pytest.raises(iz.ArgumentError, match="must be \\(n,\\) of torch.int64"):
        iz.fit(tiny, [(images, targets.float())], epochs=1)
    with pytest.raises(iz.ArgumentError, match="images of torch.uint8 must be floating point"):
        iz.fit(tiny, [(images.byte(), targets)], epochs=1)


def test_warmup_and_layer_decay(tiny):
    rows = iz.fit(tiny, batches(1), epochs=6, lr=0.08, warmup_epochs=3).epochs
    assert [row["lr"] for row in rows] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.06, 0.02])
    model = iz.create_model("googlenet", num_classes=2)
    optimizer, _ = recipe(model, 4, lr=0.1, weight_decay=0.01, layer_decay=0.5)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert rates[id(model.head.fc.weight)] == 0.1
    stages = list(model.features.children())
    found = [rates[id(next(stage.parameters()))] for stage in stages if list(stage.parameters())]
    assert found == sorted(found)  # the nearer a stage is to the images, the smaller its rate
    assert found[0] < 0.01
    for group in optimizer.param_groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] == 0.01}


def test_layer_decay_keeps_frozen_weights_which_a_callback_may_unfreeze(tiny):
    tiny.features.requires_grad_(False)

    def unfreeze(model: iz.Net, _: dict[str, float]) -> None:
        model.requires_grad_(True)

    before = tiny.features.conv1.conv.weight.detach().clone()
    iz.fit(tiny, batches(1), epochs=2, layer_decay=0.5, callbacks=[unfreeze])
    assert not tiny.features.conv1.conv.weight.equal(before)
    tiny.features.requires_grad_(False)
    optimizer, _ = recipe(tiny, 2, layer_decay=0.5)
    assert not any(parameter.requires_grad for parameter in tiny.features.parameters())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(tiny.parameters()))


@one_thread()
def test_adamw_by_name(make):
    """It is torch's AdamW with the cosine, and it takes the other arguments of the recipe."""
    model, other, sgd = make(), make(), make()
    optimizer = AdamW(other.parameters(), 5e-4, weight_decay=0.05)
    schedule = CosineAnnealingLR(optimizer, 3)
    rows = iz.fit(model, batches(), epochs=3, optimizer="adamw").epochs
    expected = iz.fit(other, batches(), epochs=3, optimizer=optimizer, scheduler=schedule).epochs
    iz.fit(sgd, batches(), epochs=3, optimizer="sgd", lr=5e-4)
    assert [row["lr"] for row in rows] == pytest.approx([row["lr"] for row in expected])
    for key, value in other.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value)
    assert not torch.allclose(model.head.fc.weight, sgd.head.fc.weight)
    optimizer, _ = recipe(model, 4, optimizer="adamw", lr=0.1, weight_decay=0.01, layer_decay=0.5, warmup_epochs=1)
    assert isinstance(optimizer, AdamW)
    assert {group["lr"] for group in optimizer.param_groups} > {0.05}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.01}
    for options in (
        {"optimizer": "adam"},
        {"optimizer": "adamw", "momentum": 0.9},
        {"optimizer": "adamw", "scheduler": schedule},
    ):
        with pytest.raises(iz.ArgumentError, match=str(list(options)[-1])):
            iz.fit(model, batches(), epochs=3, **options)


@pytest.mark.parametrize("aux", [False, True])
def test_freeze_epochs_train_only_the_classifiers(aux):
    torch.manual_seed(0)
    model = iz.create_model("googlenet", num_classes=2)
    model = iz.with_aux(model) if aux else model
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.features.conv1.conv.weight.requires_grad_(False)
    iz.fit(model, [(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1]))], epochs=2, freeze_epochs=2)
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    heads = {"head", *(f"aux.{tap}.head" for tap in model.aux)}
    assert changed == {f"{head}.fc.{kind}" for head in heads for kind in ("weight", "bias")}
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["features.conv1.conv.weight"]  # as before the training
    iz.fit(model, [(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1]))], epochs=2, freeze_epochs=1)
    assert not model.features.conv2[0].conv.weight.equal(before["features.conv2.0.conv.weight"])


def test_early_stopping(tiny, tmp_path):
    values = iter([0.0, 0.5, 0.7, 0.7, 0.6, 0.0, 0.9])  # a 0 for the trial before each training
    options = {"metrics": {"own": lambda result: next(values)}, "monitor": "own", "patience_epochs": 2, "out": tmp_path}
    history = iz.fit(tiny, batches(1), batches(1), epochs=9, **options)
    assert [row["val_own"] for row in history.epochs] == [0.5, 0.7, 0.7, 0.6]
    assert history.best["epoch"] == 1
    _, metadata = read_safetensors(tmp_path / "best.safetensors")
    assert json.loads(metadata["inceptionzoo"])["metrics"]["epoch"] == 1  # the first of equals
    with pytest.warns(UserWarning, match="holds this training, and it is complete; pass resume=False"):
        assert iz.fit(tiny, batches(1), batches(1), epochs=9, **options).epochs == history.epochs


def test_custom_metrics_know_the_class_names_of_train(tiny):
    images, targets = batches(1)[0]
    data = TensorDataset(images, targets)
    data.classes = ["benign", "malignant"]
    names = []

    def metric(result: iz.Result) -> float:
        names.append(result.class_names)
        return result.class_names.index("malignant")

    iz.fit(tiny, DataLoader(data, 4), DataLoader(data, 4), epochs=1, metrics={"own": metric})
    assert names == [("benign", "malignant")] * 2


def test_custom_metrics(tiny, tmp_path):
    val = batches(seed=1)
    metrics = {"sensitivity": lambda result: result.sensitivity(0.75), "calibration": lambda result: result.calibration_error}
    history = iz.fit(tiny, batches(), val, epochs=3, metrics=metrics, monitor="sensitivity", out=tmp_path)
    assert history.monitor == "val_sensitivity"
    result = iz.evaluate(tiny, val)
    last = history.epochs[-1]
    assert (last["val_sensitivity"], last["val_calibration"]) == (result.sensitivity(0.75), result.calibration_error)
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert rows[0].endswith("val_auc,val_sensitivity,val_calibration,seconds")
    assert json.loads((tmp_path / "history.json").read_text()) == {"monitor": "val_sensitivity", "epochs": history.epochs}


def test_a_minus_makes_the_smallest_value_the_best(tiny, tmp_path):
    values = iter([0.0, 0.3, 0.1, 0.2])  # a 0 for the trial before training
    options = {"metrics": {"error": lambda result: next(values)}, "monitor": "-error", "out": tmp_path}
    history = iz.fit(tiny, batches(1), batches(1), epochs=3, **options)
    assert (history.monitor, history.best["epoch"]) == ("-val_error", 1)


def test_recipe_takes_a_model_of_the_library(tiny):
    with pytest.raises(iz.ArgumentError, match="model is a Linear; recipe takes a model of create_model or build"):
        recipe(torch.nn.Linear(2, 2), 2)
    assert recipe(torch.compile(tiny), 2)[0].param_groups[0]["lr"] == 0.025


def test_recipe_checks_its_arguments(tiny):
    for options, text in (
        ({"warmup_epochs": 3}, "warmup_epochs=3"),
        ({"layer_decay": -1.0}, "layer_decay"),
        ({"layer_decay": 5.0}, "layer_decay=5.0 must be a number from 0 to 1"),
        ({"momentum": 9.0}, "momentum=9.0 must be a number from 0 to 1"),
        ({"lr": "1"}, "lr="),
        ({"optimizer": "adam"}, "optimizer='adam'"),
        ({"optimizer": "adamw", "momentum": 0.9}, "momentum=0.9 has no effect with optimizer='adamw'"),
    ):
        with pytest.raises(iz.ArgumentError, match=text):
            recipe(tiny, 3, **options)
    optimizer, _ = recipe(tiny, numpy.int64(3), warmup_epochs=numpy.int64(1), layer_decay=0.5)
    assert "lr_scale" not in optimizer.param_groups[0]


def test_undefined_values_are_null_in_json(tiny, tmp_path):
    one_class = [(images, torch.zeros_like(targets)) for images, targets in batches(1)]
    iz.fit(tiny, one_class, epochs=1, out=tmp_path)
    assert json.loads((tmp_path / "history.json").read_text())["epochs"][0]["auc"] is None


def test_tensorboard(tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = iz.fit(tiny, batches(1), batches(1), epochs=3, callbacks=[iz.train.tensorboard(tmp_path)])
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == sorted(set(history.epochs[0]) - {"epoch"})
    for key in ("loss", "val_auc", "lr"):
        assert [event.value for event in events.Scalars(key)] == pytest.approx([row[key] for row in history.epochs])


def test_missing_tensorboard(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(iz.ArgumentError, match="pip install tensorboard"):
        iz.train.tensorboard(tmp_path)


@pytest.mark.parametrize("size", [1, 2])
def test_small_batches_warn_once(tiny, size):
    text = f"statistics on a batch of {size}, .* norm_layer='groupnorm'.*freeze_epochs=epochs"
    with pytest.warns(UserWarning, match=text) as warned:
        iz.fit(tiny, batches(3, size), epochs=2)
    (warning,) = [warning for warning in warned if "too few" in str(warning.message)]
    assert warning.filename == __file__
    grouped = iz.create_model("tiny", norm_layer="groupnorm", num_classes=2)
    for model, options in ((grouped, {}), (tiny, {"freeze_epochs": 1})):  # a warning would be an error
        iz.fit(model, batches(3, size), epochs=1, **options)


def test_the_optimizer_is_printed(tiny, capfd):
    iz.fit(tiny, batches(1), epochs=1, progress=True, momentum=0.5)
    assert "tiny: SGD, lr 0.025, momentum 0.5, weight_decay 0.0003" in capfd.readouterr().err


@one_thread()
def test_the_seed_determines_augmentation(tiny):
    """timm's transforms draw from Python's generator, others from NumPy's."""

    class Drawn(Dataset):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.full((3, 8, 8), index / 8 + random.random() + numpy.random.random() + float(torch.rand(1))), index % 2

    losses = []
    for seed in (1, 1, 2):
        history = iz.fit(copy.deepcopy(tiny), DataLoader(Drawn(), 4), epochs=2, seed=seed, progress=False)
        losses.append([row["loss"] for row in history.epochs])
    assert losses[0] == losses[1] != losses[2]


def test_a_loader_without_a_length(tiny, capfd):
    class Stream(IterableDataset):
        def __iter__(self):
            return ((noise(3, 8, 8, seed=index), index % 2) for index in range(8))

    loader = DataLoader(Stream(), 4)
    history = iz.fit(tiny, loader, loader, epochs=1, progress=True)
    assert math.isfinite(history.best["val_loss"])
    assert "epoch 1/1: 0it" in capfd.readouterr().err


def test_a_sharded_model_is_refused_and_trains_in_a_loop_of_the_callers(sharded):
    batch = noise(4, 3, 8, 8), torch.arange(4) % 2
    with pytest.raises(
        iz.ArgumentError, match=r"model has sharded parameters \(DTensor\), which fit does not train; pass it without"
    ):
        iz.fit(sharded, [batch], epochs=1)
    before = sharded.head.fc.weight.full_tensor().clone()
    optimizer, _ = iz.train.recipe(sharded, epochs=1)
    iz.train.Losses(sharded, torch.nn.functional.cross_entropy)(*batch)[1].backward()
    optimizer.step()
    assert not sharded.head.fc.weight.full_tensor().equal(before)
