"""evaluate compared with scikit-learn, and the plots."""

import math
from collections.abc import Callable, Iterable, Iterator
from threading import Event, Thread

import numpy
import pytest
import torch
from helpers import distance, noise, tiny_network
from PIL import Image
from scores import Score
from sklearn import metrics
from torch import nn
from torchvision.datasets import ImageFolder

import inceptionzoo as iz


def batches(classes: int, present: int, count: int = 120) -> list[tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(classes)
    targets = torch.randint(present, (count,), generator=random)
    logits = torch.randn(count, classes, generator=random) + 1.5 * nn.functional.one_hot(targets, classes)
    return list(zip(logits[:, :, None, None].split(32), targets.split(32), strict=True))


def test_the_mode_of_every_module_is_restored():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.Dropout(), nn.ReLU()), Score()).train()
    model[0].eval()
    model[1][1].eval()
    before = [module.training for module in model.modules()]
    iz.evaluate(model, batches(2, 2))
    assert [module.training for module in model.modules()] == before == [True, False, True, True, False, True]


class Loader:
    """Batches that are made by a function when the evaluation asks for them."""

    def __init__(self, make: Callable[[], Iterable[tuple[torch.Tensor, torch.Tensor]]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from self.make()


def test_two_threads_can_use_one_model():
    """The first call ends while the second runs, and must leave the model in evaluation mode until then."""
    model, second_began, first_began, modes = nn.Sequential(nn.BatchNorm2d(2), Score()).train(), Event(), Event(), []

    def first() -> list[tuple[torch.Tensor, torch.Tensor]]:
        first_began.set()
        assert second_began.wait(60)
        return batches(2, 2)

    def second() -> list[tuple[torch.Tensor, torch.Tensor]]:
        second_began.set()
        thread.join()
        modes.extend(module.training for module in model.modules())
        return batches(2, 2)

    thread = Thread(target=iz.evaluate, args=(model, Loader(first)))
    thread.start()
    assert first_began.wait(60)
    iz.evaluate(model, Loader(second))
    assert modes == [False] * 3
    assert all(module.training for module in model.modules())
    assert int(model[0].num_batches_tracked) == 0  # no statistics were learnt


def test_a_sharded_model(sharded):
    images = noise(4, 3, 8, 8).clamp(-2, 2)
    with torch.no_grad():
        expected = sharded(images).softmax(1)
    result = iz.evaluate(sharded, [(images, torch.arange(4) % 3)])
    assert distance(result.probabilities, expected) < 1e-6
    assert dict(iz.predict(sharded, images[0]))["1"] == pytest.approx(float(expected[0, 1]), rel=1e-5)


def test_a_loader_may_keep_its_batches_for_training():
    class Cached:
        batches = None

        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            self.batches = self.batches or [(torch.zeros(4, 3, 8, 8), torch.arange(4) % 2)]
            return iter(self.batches)

    model, loader = iz.build(tiny_network()), Cached()
    model.reset_classifier(2)
    iz.evaluate(model, loader)
    assert iz.fit(model, loader, epochs=1).epochs[0]["loss"] > 0


class Centred(nn.Module):
    """A loss that subtracts a running mean from the logits, in place, and learns it in training mode only unless `always`."""

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))
        self.always = always

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.always or self.training:
            self.mean = 0.9 * self.mean + 0.1 * logits.detach().mean(0)
        logits = logits if logits.requires_grad else logits.sub_(self.mean)
        return nn.functional.cross_entropy(logits * self.mean.exp(), targets)


def test_a_loss_is_evaluated_in_evaluation_mode():
    loss = Centred(always=False).train()
    result = iz.evaluate(Score(), batches(2, 2), loss=loss)
    assert loss.training
    assert loss.mean.tolist() == [0, 0]
    assert result.loss == pytest.approx(iz.evaluate(Score(), batches(2, 2)).loss, rel=1e-5)
    loss.eval()
    iz.evaluate(Score(), batches(2, 2), loss=loss)
    assert not loss.training


def test_a_loss_may_keep_tensors_of_the_validation_for_training():
    model, data = iz.build(tiny_network()), [(torch.rand(4, 3, 8, 8), torch.arange(4) % 2)]
    model.reset_classifier(2)
    loss = Centred(always=True)
    history = iz.fit(model, data, data, epochs=2, loss=loss)
    assert len(history.epochs) == 2
    assert not loss.mean.is_inference()
    assert iz.evaluate(model, data, loss=loss).outputs.equal(iz.evaluate(model, data).outputs)


@pytest.mark.parametrize(("classes", "present"), [(2, 2), (5, 5), (5, 3)])
def test_metrics_equal_scikit_learns(classes, present):
    model, loader = Score().train(), batches(classes, present)
    result = iz.evaluate(model, loader)
    assert model.training
    logits = torch.cat([images[:, :, 0, 0] for images, _ in loader])
    targets = torch.cat([target for _, target in loader])
    assert result.targets.equal(targets)
    assert result.probabilities.numpy() == pytest.approx(logits.softmax(1).numpy(), abs=1e-6)
    truth, guess = targets.numpy(), logits.argmax(1).numpy()
    assert result.accuracy == pytest.approx(metrics.accuracy_score(truth, guess))
    recall = metrics.recall_score(truth, guess, labels=range(present), average="macro")
    assert result.balanced_accuracy == pytest.approx(recall)
    assert result.loss == pytest.approx(nn.functional.cross_entropy(logits, targets).item(), rel=1e-5)
    expected = metrics.confusion_matrix(truth, guess, labels=range(classes))
    assert result.confusion.numpy().tolist() == expected.tolist()
    columns = [1] if classes == 2 else range(present)
    areas = [metrics.roc_auc_score(truth == column, logits.softmax(1)[:, column].numpy()) for column in columns]
    assert result.auc == pytest.approx(sum(areas) / len(areas), abs=1e-6)
    false, true, _ = result.roc[0]
    assert torch.trapezoid(true, false).item() == pytest.approx(areas[0], abs=1e-6)
    assert len(result.roc) == (1 if classes == 2 else classes)
    assert all(curve[1].isnan().all() for curve in result.roc[present:])


def test_one_class_has_no_auc(tmp_path):
    result = iz.evaluate(Score(), batches(2, 1))
    assert math.isnan(result.auc)
    assert result.balanced_accuracy == result.accuracy
    with pytest.raises(iz.ArgumentError, match="only one class is present"):
        result.plot_roc(tmp_path / "roc.png")
    with pytest.raises(iz.ArgumentError, match="only one class is present"):
        result.plot_precision_recall(tmp_path / "pr.png")


@pytest.mark.parametrize("classes", [2, 4])
def test_plots(tmp_path, classes):
    result = iz.evaluate(Score(), batches(classes, classes))
    history = iz.History("accuracy", [{"epoch": e, "lr": 0.1, "loss": 1.0, "accuracy": 0.5, "auc": math.nan} for e in (0, 1)])
    plots = [result.plot_roc, result.plot, result.plot_precision_recall, result.plot_calibration, history.plot]
    for plot, name in ((plot, f"{plot.__name__}.png") for plot in plots):
        plot(tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


def test_invalid_loaders():
    with pytest.raises(iz.ArgumentError, match="the loader gave no batch"):
        iz.evaluate(Score(), [])
    with pytest.raises(iz.ArgumentError, match=r"targets from 3 to 3 must lie in 0..1"):
        iz.evaluate(Score(), [(torch.zeros(1, 2, 1, 1), torch.tensor([3]))])


def result_of(probabilities: list[float], targets: list[int]) -> iz.Result:
    scores = torch.tensor(probabilities)
    logits = torch.stack((1 - scores, scores), 1).log()
    return iz.evaluate(Score(), [(logits[:, :, None, None], torch.tensor(targets))])


@pytest.mark.parametrize("use", ["fit", "evaluate"])
def test_an_error_of_reading_says_how_to_find_the_file(use):
    """ImageFolder's own loader does not name a truncated file."""

    class Truncated(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 32

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            if index == 31:
                raise OSError("image file is truncated")
            return torch.zeros(3, 8, 8), 0

    model = iz.build(tiny_network())
    model.reset_classifier(2)
    loader = torch.utils.data.DataLoader(Truncated(), 16)
    with pytest.raises(OSError, match=r"^image file is truncated\n.*loader=iz.open_image"):
        iz.evaluate(model, loader) if use == "evaluate" else iz.fit(model, loader, epochs=1)


def test_an_error_of_reading_names_the_file(tmp_path):
    """ImageFolder's own loader does not name a truncated file."""
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (40, 40, 3), numpy.uint8)).save(tmp_path / label / "0.png")
    data = (tmp_path / "b" / "0.png").read_bytes()
    (tmp_path / "b" / "0.png").write_bytes(data[: len(data) // 2])
    model = iz.build(tiny_network())
    model.reset_classifier(2)
    with pytest.raises(OSError, match=r"truncated\nThe file is .*b.0\.png; replace or remove it$"):
        iz.evaluate(model, torch.utils.data.DataLoader(ImageFolder(tmp_path, iz.transforms(model)), 2))


def test_sensitivity_and_calibration_by_hand():
    result = result_of([0.1, 0.2, 0.3, 0.6, 0.4, 0.55, 0.7, 0.9], [0, 0, 0, 0, 1, 1, 1, 1])
    assert result.sensitivity(0.75) == 1.0  # threshold 0.4: one of four negatives is a false positive
    assert result.sensitivity(0.9) == 0.5  # threshold 0.7: none is
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.6, 0.55, 0.7, 0.9])
    right = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    bins = (confidence * 15).floor()
    error = sum(abs(float((right - confidence)[bins == one].sum())) for one in bins.unique()) / 8
    assert result.calibration_error == pytest.approx(error, abs=1e-6)
    assert math.isnan(result_of([0.7], [1]).sensitivity())
    with pytest.raises(iz.ArgumentError, match="specificity=1.5 must be a number"):
        result.sensitivity(1.5)
    with pytest.raises(iz.ArgumentError, match="the model has 5 classes and must have two"):
        iz.evaluate(Score(), batches(5, 5)).sensitivity()


def test_the_calibration_of_certain_answers():
    """A confidence of 1 lies in the last of the 15 bins."""
    assert result_of([1.0, 0.05], [0, 0]).calibration_error == pytest.approx(abs((1.0 + 0.95) / 2 - 0.5))
