"""fit: its defaults, its schedule, what it records, what it refuses."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

import inceptionzoo as iz
from inceptionzoo.train.setup import recipe

# what the seed's log printed beside "epoch k" (facts.md, section 1): 200 epochs, lr 0.025
PRINTED = {
    11: 0.024743364840344905,
    69: 0.018002294394417008,
    163: 0.001844920924931094,
    198: 3.855472768161031e-07,
    199: 0.0,
}


@pytest.fixture
def tiny():
    """A network that trains in milliseconds."""
    iz.register_model("tiny", iz.network(conv1=iz.Conv(8, 3, 2), block=iz.inception(4, 4, 8, 2, 4, 4)), num_classes=2)
    torch.manual_seed(0)
    yield iz.create_model("tiny")
    del iz.registry.REGISTRY["tiny"]


def batches(
    count: int = 4, size: int = 8, classes: int = 2, seed: int = 0, gap: float = 1.0
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of noise whose class shows as brightness."""
    random = torch.Generator().manual_seed(seed)
    targets = [torch.arange(size) % classes for _ in range(count)]
    return [(torch.randn(size, 3, 16, 16, generator=random) + gap * target[:, None, None, None], target) for target in targets]


def test_the_schedule_gives_the_seeds_printed_rates(tiny):
    epochs = 200
    used = [row["lr"] for row in iz.fit(tiny, batches(1, 2), epochs=epochs).epochs]
    for epoch, rate in enumerate(used):
        assert rate == pytest.approx(0.0125 * (1 + math.cos(math.pi * epoch / epochs)), abs=1e-15)
    # the seed stepped before its epoch, and printed get_lr() of a schedule that had already stepped
    for epoch, printed in PRINTED.items():
        following = used[epoch + 1] if epoch + 1 < epochs else 0.0
        ratio = (1 + math.cos(math.pi * (epoch + 1) / epochs)) / (1 + math.cos(math.pi * epoch / epochs))
        assert following * ratio == pytest.approx(printed, abs=1e-15)
    assert used[11] != pytest.approx(PRINTED[11], abs=1e-6)  # which is not the rate of that epoch


def test_the_defaults_are_the_seeds_or_the_models_own():
    for name, lr, decay in (("googlenet", 0.025, 3e-4), ("vgg16_bn", 0.025, 3e-4), ("vgg16", 0.01, 5e-4)):
        optimizer, _ = recipe(iz.create_model(name, device="meta"), 200)
        assert isinstance(optimizer, SGD)
        group = optimizer.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (lr, 0.9, decay)
    optimizer, scheduler = recipe(iz.create_model("googlenet", device="meta"), 7, lr=0.1, momentum=0.0, weight_decay=0.0)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"], scheduler.T_max) == (0.1, 0.0, 0.0, 7)


def test_it_learns_and_keeps_the_best(tiny, tmp_path):
    val = batches(seed=1)
    history = iz.fit(tiny, batches(), val, epochs=12, out=tmp_path, seed=0)
    assert history.epochs[-1]["val_accuracy"] > 0.9
    assert history.epochs[-1]["loss"] < 0.5 * history.epochs[0]["loss"]
    assert history.monitor == "val_accuracy"
    best = iz.load_model(tmp_path / "best.safetensors")
    assert iz.evaluate(best, val).accuracy == history.best["val_accuracy"] == max(r["val_accuracy"] for r in history.epochs)
    result = iz.evaluate(tiny, val)  # the model itself has the last epoch's weights
    assert (result.accuracy, result.loss) == (history.epochs[-1]["val_accuracy"], history.epochs[-1]["val_loss"])
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert rows[0] == "epoch,lr,loss,accuracy,auc,val_loss,val_accuracy,val_auc,seconds"
    assert len(rows) == 13


def test_monitor_a_loss(tiny, tmp_path):
    history = iz.fit(tiny, batches(), epochs=4, out=tmp_path, monitor="loss", lr=0.05)
    assert history.best["loss"] == min(row["loss"] for row in history.epochs)
    assert "val_loss" not in history.epochs[0]


def test_metrics_are_of_the_whole_epoch(tiny):
    """The seed printed nan, 1 and 0, the AUC of batches of two."""
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
    assert model.is_channels_last


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


def test_ones_own_optimizer_schedule_loss_and_callbacks(tiny):
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


def test_class_weights_and_smoothing_reach_the_loss(tiny):
    train = batches(1)
    state = {key: value.clone() for key, value in tiny.state_dict().items()}
    losses = []
    for options in ({}, {"label_smoothing": 0.3}, {"class_weights": torch.tensor([1.0, 9.0])}):
        tiny.load_state_dict(state)
        losses.append(iz.fit(tiny, train, epochs=1, **options).epochs[0]["loss"])
    assert len(set(losses)) == 3


def test_a_loss_that_is_not_finite_stops_at_once(tiny, tmp_path):
    good, bad = batches(2), batches(3)
    bad[1][0][0] = math.nan
    iz.fit(tiny, good, good, epochs=1, out=tmp_path)
    kept = (tmp_path / "best.safetensors").read_bytes()
    before = tiny.features.conv1.conv.weight.clone()
    with pytest.raises(iz.TrainingError, match="the loss is nan in step 1 of epoch 0, with lr=0.025; lower lr"):
        iz.fit(tiny, bad, good, epochs=2, out=tmp_path, resume=False)
    assert (tmp_path / "best.safetensors").read_bytes() == kept
    assert tiny.features.conv1.conv.weight.isfinite().all()
    assert not tiny.features.conv1.conv.weight.equal(before)


class Folder(TensorDataset):
    classes = ("benign", "malignant")


def test_class_names_come_from_the_data(tiny, tmp_path):
    images, targets = batches(1)[0]
    iz.fit(tiny, DataLoader(Folder(images, targets), 8), epochs=1, out=tmp_path)
    assert iz.load_model(tmp_path / "best.safetensors").class_names == ("benign", "malignant")


@pytest.mark.parametrize(("show", "bars"), [(True, True), (False, False), (None, False)])
def test_progress(tiny, capfd, show, bars):
    iz.fit(tiny, batches(), epochs=1, progress=show)
    text = capfd.readouterr().err
    assert bool(text) is bars
    if bars:
        for part in ("epoch 1/1", "4/4", "loss ", "accuracy ", "AUC ", "lr 0.025"):
            assert part in text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "epochs=0 must be an int from 1 to"),
        ({"epochs": 1, "lr": -0.1}, "lr=-0.1 must be a finite number"),
        ({"epochs": 1, "momentum": math.nan}, "momentum=nan"),
        ({"epochs": 1, "monitor": "accurracy"}, "did you mean 'accuracy'?"),
        ({"epochs": 1, "monitor": "val_auc"}, "monitor='val_auc' must be one of 'loss', 'accuracy', 'auc'"),
        ({"epochs": 1, "loss": torch.nn.CrossEntropyLoss(), "label_smoothing": 0.1}, "no effect beside a loss of your own"),
        ({"epochs": 1, "label_smoothing": 1.5}, "label_smoothing=1.5"),
        ({"epochs": 1, "class_weights": torch.ones(3)}, r"class_weights of shape (3,) must have shape (2,)"),
        ({"epochs": 1, "class_weights": torch.tensor([1.0, math.nan])}, "(2,): number 1=nan must be a finite number"),
        ({"epochs": 1, "class_weights": [1, 2]}, "class_weights=[1, 2] must be a Tensor"),
        ({"epochs": 1, "scheduler": "cosine"}, "needs the optimizer that it steps"),
        ({"epochs": 1, "seed": 2**64}, "seed=18446744073709551616 must be an int from -9223372036854775808 to"),
        ({"epochs": 1, "device": "cuda:99"}, "device='cuda:99' is not there: torch finds"),
        ({"epochs": 1, "device": "gpu"}, "device='gpu' must be a device of torch's"),
        ({"epochs": 1, "callbacks": [7]}, "callbacks=[7] must be a list of functions"),
    ],
)
def test_bad_arguments(tiny, options, text):
    before, state = tiny.features.conv1.conv.weight.clone(), torch.get_rng_state()
    with pytest.raises(iz.ArgumentError) as error:
        iz.fit(tiny, batches(1), **{"seed": 1, **options})
    assert text in str(error.value)
    assert tiny.features.conv1.conv.weight.equal(before)
    assert torch.get_rng_state().equal(state)
    assert not tiny.is_channels_last


def test_a_scheduler_steps_without_a_metric(tiny):
    optimizer = SGD(tiny.parameters(), lr=0.1)
    for scheduler in (torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer), torch.optim.lr_scheduler.StepLR, 7):
        with pytest.raises(iz.ArgumentError, match="must be one of torch.optim.lr_scheduler that steps without a metric"):
            iz.fit(tiny, batches(1), epochs=1, optimizer=optimizer, scheduler=scheduler)


def test_callbacks_may_be_a_generator(tiny):
    seen: list[float] = []
    iz.fit(tiny, batches(1), epochs=2, callbacks=(call for call in [lambda _, row: seen.append(row["epoch"])]))
    assert seen == [0, 1]


@pytest.mark.parametrize(
    "batch", [7, (torch.zeros(1),), {"image": 1, "label": 2}, (torch.zeros(2, 3, 32, 32), [0, 1])], ids=str
)
def test_a_batch_is_two_tensors(tiny, batch):
    for call in (lambda data: iz.fit(tiny, data, epochs=1), lambda data: iz.evaluate(tiny, data)):
        with pytest.raises(iz.ArgumentError, match=r"must be two Tensors, \(images, targets\)"):
            call([batch])
        with pytest.raises(iz.ArgumentError, match="must be a DataLoader, or a list of"):
            call({"image": 1})


def test_a_network_without_a_name_has_no_file(tiny, tmp_path):
    nameless = iz.build(tiny.network)
    nameless.reset_classifier(2)
    assert iz.fit(nameless, batches(1), epochs=1).epochs
    with pytest.raises(iz.ArgumentError, match="needs a model that can be saved: register_model"):
        iz.fit(nameless, batches(1), epochs=1, out=tmp_path)


def test_no_batch(tiny):
    images, targets = batches(1, 4)[0]
    with pytest.raises(iz.ArgumentError, match="no batch in epoch 0; a DataLoader with drop_last=True needs a whole batch"):
        iz.fit(tiny, DataLoader(TensorDataset(images, targets), 8, drop_last=True), epochs=1)
    with pytest.raises(iz.ArgumentError, match="no batch in epoch 1.* a generator can be read only once"):
        iz.fit(tiny, (batch for batch in batches(1)), epochs=2)


def test_an_optimizer_of_ones_own_has_its_own_rate(tiny):
    with pytest.raises(iz.ArgumentError, match=r"lr=0.1 has no effect beside an optimizer"):
        iz.fit(tiny, batches(1), epochs=1, lr=0.1, optimizer=SGD(tiny.parameters(), lr=1.0))


def test_targets_that_are_no_class(tiny):
    images, targets = batches(1)[0]
    with pytest.raises(iz.ArgumentError, match=r"targets from 0 to 2 must lie in 0..1; the model has num_classes=2"):
        iz.fit(tiny, [(images, targets * 2)], epochs=1)
    with pytest.raises(iz.ArgumentError, match="must be \\(n,\\) of torch.int64"):
        iz.fit(tiny, [(images, targets.float())], epochs=1)
    with pytest.raises(iz.ArgumentError, match="images of torch.uint8 must be floating point"):
        iz.fit(tiny, [(images.byte(), targets)], epochs=1)
