"""Losses of the caller: those that are refused, that are no mean over the images, or that weigh the classes."""

import warnings
from functools import partial

import pytest
import torch
from helpers import noise, one_thread
from scores import Score, batches
from torch import nn
from torch.nn import functional as F

import inceptionzoo as iz

LOGITS, CLASSES = noise(12, 3), torch.arange(12) % 3


REFUSED = {
    "NLLLoss takes log-probabilities, .* use torch.nn.CrossEntropyLoss": nn.NLLLoss(),
    "nll_loss takes log-probabilities, .* use torch.nn.CrossEntropyLoss": F.nll_loss,
    "KLDivLoss takes log-probabilities": nn.KLDivLoss(reduction="batchmean"),
    "BCELoss takes probabilities, .* use torch.nn.BCEWithLogitsLoss": nn.BCELoss(),
    "binary_cross_entropy takes probabilities": partial(F.binary_cross_entropy, weight=torch.ones(3)),
    "CrossEntropyLoss has reduction='sum' and must return a mean": nn.CrossEntropyLoss(reduction="sum"),
    "MSELoss has reduction='none' and must return a mean": nn.MSELoss(reduction="none"),
    "cross_entropy has reduction='sum' and must return a mean": partial(F.cross_entropy, reduction="sum"),
    "loss=7 must be a function": 7,
    r"loss=CrossEntropyLoss is a class; pass an object of it: loss=CrossEntropyLoss\(\)": nn.CrossEntropyLoss,
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_loss_that_does_not_fit_is_refused(tiny, text):
    with pytest.raises(iz.ArgumentError, match=text):
        iz.evaluate(Score(), batches(LOGITS, CLASSES, 5), loss=REFUSED[text])
    before = tiny.head.fc.weight.clone()
    with pytest.raises(iz.ArgumentError, match=text):
        iz.fit(tiny, [(noise(6, 3, 8, 8), CLASSES[:6])], epochs=1, loss=REFUSED[text])
    assert tiny.head.fc.weight.equal(before)


class Focal(nn.CrossEntropyLoss):
    """A loss that is made of torch's with reduction="none"."""

    def __init__(self) -> None:
        super().__init__(reduction="none")

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = super().forward(logits, targets)
        return ((1 - (-loss).exp()) ** 2 * loss).mean()


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return F.cross_entropy(logits, targets, reduction="sum")


def test_a_focal_loss_is_a_mean_over_the_images():
    result = iz.evaluate(Score(), batches(LOGITS, CLASSES, 5), loss=Focal())
    assert result.loss == pytest.approx(float(Focal()(LOGITS, CLASSES)), rel=1e-5)


def test_a_loss_that_is_a_sum_warns():
    loss = Sum()
    with pytest.warns(UserWarning, match=r"loss is .* for a batch of 5 images, .* Return the mean over the images"):
        iz.evaluate(Score(), batches(LOGITS, CLASSES, 5), loss=loss)
    assert loss.calls == 3  # a copy computes the losses of single images
    with pytest.warns(UserWarning, match="for a batch of 64 images, .* Return the mean over the images"):  # the first of 120
        iz.evaluate(Score(), batches(LOGITS.repeat(10, 1), CLASSES.repeat(10), 120), loss=Sum())


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_targets_that_are_broadcast_warn(task):
    """Outputs (n, 1) minus targets (n,) are (n, n)."""
    targets = noise(12, seed=2) if task == "regression" else (CLASSES == 0).float()
    data = batches(LOGITS[:, :1], targets, 6)
    with pytest.warns(UserWarning, match=r"must give logits \(6, 1\) and targets \(6,\) the same shape"):
        iz.evaluate(Score(), data, task=task, loss=lambda outputs, labels: (outputs - labels).square().mean())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = iz.evaluate(Score(), data, task=task, loss=lambda outputs, labels: (outputs[:, 0] - labels).square().mean())
    assert right.loss == pytest.approx(float((LOGITS[:, 0] - targets).square().mean()), rel=1e-5)


def test_a_function_that_counts_its_calls_is_called_once_a_batch():
    calls = []
    iz.evaluate(Score(), batches(LOGITS, CLASSES, 4), loss=lambda z, t: (calls.append(1), F.cross_entropy(z, t))[1])
    assert len(calls) == 3


class Weighted(nn.CrossEntropyLoss):
    pass


WEIGHTS = torch.tensor([1.0, 9.0, 3.0])
WEIGHTED = {
    "module": nn.CrossEntropyLoss(WEIGHTS),
    "subclass": Weighted(WEIGHTS),
    "function": partial(F.cross_entropy, weight=WEIGHTS),
    "smoothing": nn.CrossEntropyLoss(WEIGHTS, label_smoothing=0.2),
    "ignored": nn.CrossEntropyLoss(WEIGHTS, ignore_index=5),
}


@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("size", [1, 5, 12])
def test_class_weights_of_the_loss_weigh_the_batches(kind, size):
    """The mean over all images does not depend on how they are divided into batches."""
    targets = CLASSES.sort().values.clone()
    if kind == "ignored":
        targets[[1, 6]] = 5
    result = iz.evaluate(Score(), batches(LOGITS, targets, size), loss=WEIGHTED[kind])
    assert result.loss == pytest.approx(float(WEIGHTED[kind](LOGITS, targets)), rel=1e-5)


class WeightedFocal(nn.CrossEntropyLoss):
    """A mean over the images of losses that have the class weights, unlike torch's."""

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = F.cross_entropy(logits, targets, weight=self.weight, reduction="none")
        return ((1 - (-loss).exp()) ** 2 * loss).mean()


@pytest.mark.parametrize("size", [1, 5, 12])
def test_a_subclass_of_cross_entropy_with_weights_is_a_mean_over_the_images(size):
    targets, loss = CLASSES.sort().values, WeightedFocal(WEIGHTS)
    result = iz.evaluate(Score(), batches(LOGITS, targets, size), loss=loss)
    assert result.loss == pytest.approx(float(loss(LOGITS, targets)), rel=1e-5)


class SumOfCrossEntropy(nn.CrossEntropyLoss):
    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return len(logits) * super().forward(logits, targets)


class SumOfBinary(nn.BCEWithLogitsLoss):
    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return len(logits) * super().forward(logits, targets)


@pytest.mark.parametrize(("loss", "targets"), [(SumOfCrossEntropy(), CLASSES), (SumOfBinary(), (LOGITS > 0).float())])
def test_a_subclass_that_is_a_sum_warns(loss, targets):
    with pytest.warns(UserWarning, match="loss is .* for a batch of 5 images, .* Return the mean over the images"):
        iz.evaluate(Score(), batches(LOGITS, targets, 5), loss=loss)


@one_thread()
@pytest.mark.parametrize("kind", WEIGHTED)
def test_class_weights_of_the_loss_weigh_accumulated_batches(register, kind):
    """Three batches of one step give the step of one large batch."""
    network = iz.network({"conv": iz.Conv(4, 3, 2)}, style=iz.Style(norm=None, bias=True))
    register("plain", network, num_classes=3, input_size=(3, 8, 8))
    images, targets = noise(12, 3, 8, 8), CLASSES.sort().values
    trained = []
    for size, accumulate in ((12, 1), (4, 3)):
        torch.manual_seed(0)
        model = iz.create_model("plain")
        data = list(zip(images.split(size), targets.split(size), strict=True))
        row = iz.fit(model, data, epochs=1, lr=1.0, accumulate=accumulate, loss=WEIGHTED[kind]).epochs[0]
        trained.append([row["loss"], *model.head.fc.weight.flatten().tolist()])
    assert trained[1] == pytest.approx(trained[0], rel=1e-4, abs=1e-5)


ELEMENTWISE = {
    "binary cross entropy": (nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits),
    "squared error": (nn.MSELoss(), F.mse_loss),
    "function": (F.mse_loss, F.mse_loss),
    "subclass": (type("Own", (nn.MSELoss,), {"forward": lambda _, logits, rows: F.mse_loss(logits, rows)})(), F.mse_loss),
}


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_losses_of_elements_get_class_indices_as_rows(tiny, kind):
    loss, function = ELEMENTWISE[kind]
    rows = F.one_hot(CLASSES, 3).float()
    for targets in (CLASSES, rows):
        result = iz.evaluate(Score(), batches(LOGITS, targets, 5), task="multiclass", loss=loss)
        assert result.task == "multiclass"
        assert result.loss == pytest.approx(float(function(LOGITS, rows)), rel=1e-5)
    data = [(noise(12, 3, 8, 8), CLASSES)]
    row = iz.fit(tiny, data, data, epochs=1, task="multiclass", loss=loss).epochs[0]
    assert row["val_loss"] == pytest.approx(iz.evaluate(tiny, data, task="multiclass", loss=loss).loss, rel=1e-4)


def test_cross_entropy_does_not_fit_one_logit():
    with pytest.raises(iz.ArgumentError, match="task='binary' has one logit, .* use loss=torch.nn.BCEWithLogitsLoss"):
        iz.evaluate(Score(), batches(LOGITS[:, :1], CLASSES % 2), task="binary", loss=nn.CrossEntropyLoss())


ENDS = {
    "softmax": (nn.Sequential(Score(), nn.Softmax(1)), CLASSES, "multiclass"),
    "sigmoid": (nn.Sequential(Score(), nn.Sigmoid()), (LOGITS > 0).float(), "multilabel"),
}


@pytest.mark.parametrize("end", ENDS)
def test_probabilities_warn(end):
    model, targets, task = ENDS[end]
    with pytest.warns(UserWarning, match=f"the model seems to return probabilities of a {end}, but logits are expected"):
        iz.evaluate(model, batches(LOGITS, targets), task=task)
    iz.evaluate(model, batches(LOGITS, LOGITS), task="regression")  # the values may be fractions
    iz.evaluate(Score(), batches(LOGITS.sigmoid(), targets), task=task)  # logits may be
