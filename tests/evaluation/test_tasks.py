"""evaluate for each task, compared with scikit-learn; losses, and outputs that are not finite."""

import math

import pytest
import torch
from helpers import noise
from scores import Score, as_images, batches
from sklearn import metrics
from torch import nn
from torch.nn import functional as F

import inceptionzoo as iz
from inceptionzoo.evaluation._metrics import regression_metrics
from inceptionzoo.evaluation._task import Task

INDICES = torch.arange(12) % 3
SOFT = torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.2, 0.7]]).repeat(6, 1)


def test_soft_labels_count_by_their_largest_class():
    logits = noise(12, 3) + 2 * SOFT
    result = iz.evaluate(Score(), batches(logits, SOFT))
    assert result.targets.tolist() == [0, 2] * 6
    assert result.accuracy == metrics.accuracy_score(SOFT.argmax(1), logits.argmax(1))
    assert result.loss == pytest.approx(F.cross_entropy(logits, SOFT).item(), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_fractions_above_one_half_count_as_1(task):
    targets = torch.tensor([[0.0], [0.5], [0.51], [1.0]])
    result = iz.evaluate(Score(), batches(noise(4, 1), targets), task=task)
    assert result.targets.flatten().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_one_logit(shape, dtype, tmp_path):
    truth = torch.arange(12) % 2
    logits = noise(12, 1) + truth[:, None]
    result = iz.evaluate(Score(("no", "yes")), batches(logits, truth.to(dtype).view(shape)))
    score = logits[:, 0].sigmoid()
    assert (result.task, result.class_names, result.targets.tolist()) == ("binary", ("no", "yes"), truth.tolist())
    assert result.probabilities.numpy() == pytest.approx(torch.stack((1 - score, score), 1).numpy(), abs=1e-6)
    assert result.accuracy == metrics.accuracy_score(truth, score > 0.5)
    assert result.auc == pytest.approx(metrics.roc_auc_score(truth, score))
    assert result.loss == pytest.approx(metrics.log_loss(truth, score), rel=1e-5)
    assert result.confusion.tolist() == metrics.confusion_matrix(truth, score > 0.5).tolist()
    result.plot_roc(tmp_path / "roc.png")
    assert 0 <= result.sensitivity(0.5) <= 1


def test_several_labels(tmp_path):
    truth = (noise(40, 4, seed=3) > 0).long()
    truth[:, 3] = 0  # no image has this label
    logits = noise(40, 4) + truth
    result = iz.evaluate(Score(), batches(logits, truth.float()), task="multilabel")
    probabilities = logits.sigmoid().numpy()
    assert result.probabilities.numpy() == pytest.approx(probabilities, abs=1e-6)
    assert result.accuracy == pytest.approx(((probabilities > 0.5) == truth.numpy()).mean())
    areas = [metrics.roc_auc_score(truth[:, label], probabilities[:, label]) for label in range(3)]
    assert result.label_auc[:3].tolist() == pytest.approx(areas, abs=1e-6)
    assert result.label_auc[3].isnan()
    assert result.auc == pytest.approx(sum(areas) / 3, abs=1e-6)
    precisions = [metrics.average_precision_score(truth[:, label], probabilities[:, label]) for label in range(3)]
    assert result.label_average_precision[:3].tolist() == pytest.approx(precisions, abs=1e-6)
    assert result.mean_average_precision == pytest.approx(sum(precisions) / 3, abs=1e-6)
    assert result.loss == pytest.approx(F.binary_cross_entropy_with_logits(logits, truth.float()).item(), rel=1e-5)
    assert len(result.roc) == 4
    result.plot_roc(tmp_path / "roc.png"), result.plot_precision_recall(tmp_path / "pr.png")
    for name in ("confusion", "balanced_accuracy", "calibration_error"):
        with pytest.raises(iz.ArgumentError, match=f"{name} is for multiclass, binary; the task .* 'multilabel'"):
            getattr(result, name)


@pytest.mark.parametrize("outputs", [1, 2])
def test_regression(outputs):
    truth, logits = noise(30, outputs, seed=5) * 9, noise(30, outputs)
    result = iz.evaluate(Score(), batches(logits, truth), loss=nn.L1Loss())
    assert result.task == "regression"
    assert (result.mae, result.loss) == pytest.approx((metrics.mean_absolute_error(truth, logits),) * 2, rel=1e-5)
    assert result.rmse == pytest.approx(math.sqrt(metrics.mean_squared_error(truth, logits)), rel=1e-5)
    assert result.r2 == pytest.approx(metrics.r2_score(truth, logits), rel=1e-4)
    assert result.outputs.equal(logits)
    if outputs == 1:  # without a loss of (n, n) differences
        assert iz.evaluate(Score(), batches(logits, truth[:, 0]), loss=nn.L1Loss()).loss == pytest.approx(result.loss)
    for name in ("accuracy", "auc", "probabilities", "roc"):
        with pytest.raises(iz.ArgumentError, match=rf"{name}.*'regression'"):
            getattr(result, name)


def test_regression_in_float64():
    """In float32 these values have no fraction."""
    truth = torch.tensor([16777217.5, 16777219.5], dtype=torch.float64)[:, None]
    result = iz.evaluate(Score().double(), batches(truth - 0.25, truth), task="regression")
    assert (result.mae, result.rmse, result.loss) == (0.25, 0.25, 0.0625)
    assert result.targets.equal(truth)
    assert result.outputs.equal(truth - 0.25)


def test_a_result_prints_its_metrics_only():
    text = repr(iz.evaluate(Score(), batches(noise(12, 3), INDICES)))
    assert text.startswith("Result(multiclass, 12 images")
    assert "accuracy 0." in text
    assert "tensor" not in text
    assert len(text) < 150


def test_results_can_be_compared_and_collected():
    """A result is equal to itself only; its tensors cannot be compared as one value."""
    one, other = (iz.evaluate(Score(), batches(noise(12, 3), INDICES)) for _ in range(2))
    assert len({one, other}) == 2
    assert one != other


def test_targets_of_cross_entropy_that_are_ignored_do_not_count():
    logits, targets = noise(12, 3), INDICES.clone()
    targets[[1, 5, 6]] = 255
    counted = targets != 255
    result = iz.evaluate(Score(), batches(logits, targets), loss=nn.CrossEntropyLoss(ignore_index=255))
    assert result.targets.equal(targets[counted])
    assert result.accuracy == metrics.accuracy_score(targets[counted], logits[counted].argmax(1))
    assert result.loss == pytest.approx(F.cross_entropy(logits[counted], targets[counted]).item(), rel=1e-5)
    with pytest.raises(iz.ArgumentError, match=r"targets from 0 to 255 must lie in 0..2"):
        iz.evaluate(Score(), batches(logits, targets))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_result_of_ignored_targets_only(classes):
    result = iz.evaluate(Score(), batches(noise(4, classes), torch.full((4,), -100)), loss=nn.CrossEntropyLoss())
    assert repr(result) == f"Result(multiclass, 0 images, {classes} columns: loss nan, accuracy nan, auc nan)"
    assert math.isnan(result.balanced_accuracy)
    assert math.isnan(result.calibration_error)
    assert result.confusion.equal(torch.zeros(classes, classes, dtype=torch.int64))
    if classes == 2:
        assert math.isnan(result.sensitivity())
    with pytest.raises(iz.ArgumentError, match="roc: the result has no image; the loss ignores the target of each"):
        result.roc  # noqa: B018
    for plot in (result.plot_roc, result.plot_precision_recall, result.plot_calibration):
        with pytest.raises(iz.ArgumentError, match=f"{plot.__name__}: the result has no image"):
            plot("unused.png")


def test_the_loss_given_is_the_loss_of_the_result():
    """Weighted by the images of each batch: 5, 5 and 2."""
    logits = noise(12, 3)
    result = iz.evaluate(
        Score(), batches(logits, INDICES), loss=lambda outputs, targets: outputs.square().mean() + len(targets)
    )
    expected = sum(len(part) * (part.square().mean() + len(part)) for part in logits.split(5)) / 12
    assert result.loss == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(iz.ArgumentError, match=r"loss returned a Tensor of shape \(5,\); it must return .* one number"):
        iz.evaluate(Score(), batches(logits, INDICES), loss=lambda outputs, _: outputs[:, 0])
    with pytest.raises(iz.ArgumentError, match="loss=7 must be a function"):
        iz.evaluate(Score(), batches(logits, INDICES), loss=7)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(("task", "outputs"), [("multiclass", 3), ("binary", 1), ("multilabel", 3), ("regression", 2)])
def test_outputs_that_are_not_finite_have_no_metrics(task, outputs, bad, tmp_path):
    if bad == math.inf and task in ("binary", "multilabel"):
        pytest.skip("an infinite logit is a probability of 1")
    logits = noise(8, outputs)
    logits[3, 0] = bad
    targets = {
        "multiclass": torch.arange(8) % 3,
        "binary": torch.arange(8) % 2,
        "multilabel": (noise(8, outputs) > 0).float(),
        "regression": noise(8, outputs),
    }[task]
    result = iz.evaluate(Score(), batches(logits, targets), task=task)
    assert all(math.isnan(value) for value in result.metrics.values())
    assert not math.isfinite(result.loss)
    if task in ("multiclass", "binary"):
        assert math.isnan(result.balanced_accuracy)
        assert math.isnan(result.calibration_error)
        with pytest.raises(iz.ArgumentError, match="confusion: the outputs of 1 of 8 images are not finite"):
            result.plot(tmp_path / "confusion.png")


WRONG_TARGETS = {
    "rows that are no distribution": (3, torch.ones(4, 3), {}, r"\(4, 3\) .* sum to 1.*task='multiclass'.*'multilabel', 'regr"),
    "rows that sum to 0.95": (2, torch.full((4, 2), 0.475), {}, "rows of at least 0 that sum to 1"),
    "numbers for classes": (
        3,
        torch.rand(4),
        {},
        r"must be \(n,\) of torch.int64, or soft labels .* pass task=, one of 'binary'",
    ),
    "rows of integers": (3, torch.eye(4, 3).long(), {}, r"\(n, 3\) in floating point"),
    "booleans for classes": (3, torch.ones(4, dtype=torch.bool), {}, "torch.bool must be"),
    "numbers for one logit": (1, torch.full((4,), 0.3), {}, "must be 0 or 1, and has 0.3.*task='binary'.*'regression'"),
    "a third class for one logit": (1, torch.tensor([0, 1, 2, 0]), {}, "must be 0 or 1, and has 2"),
    "nan for one logit": (1, torch.full((4,), math.nan), {"task": "binary"}, "numbers from 0 to 1, and has nan"),
    "too few labels": (3, torch.ones(4, 2), {"task": "multilabel"}, r"\(4, 2\) .* must be \(n, 3\), because task='multilabel'"),
    "labels above 1": (3, torch.full((4, 3), 2.0), {"loss": nn.BCEWithLogitsLoss()}, "numbers from 0 to 1, and has 2.0"),
    "values that broadcast": (2, torch.ones(4), {"loss": nn.MSELoss()}, r"must be \(n, 2\), because task='regression'"),
    "values that are nan": (1, torch.full((4,), math.nan), {"loss": nn.MSELoss()}, "have a value that is not finite"),
    "too few targets": (3, torch.ones(3), {}, r"must be one for each of the images, which have shape \(4, 3, 1, 1\)"),
    "a task for one logit": (3, torch.ones(4), {"task": "binary"}, "task='binary' needs one output; .* num_classes=3"),
    "classes of one logit": (
        1,
        torch.ones(4),
        {"loss": nn.CrossEntropyLoss()},
        "task='multiclass' needs num_classes of at least 2",
    ),
    "another task": (3, INDICES[:4], {"task": "multiclas"}, "task='multiclas' must be one of .*did you mean 'multiclass'"),
}


@pytest.mark.parametrize(("outputs", "targets", "options", "text"), WRONG_TARGETS.values(), ids=WRONG_TARGETS)
def test_targets_of_another_task(outputs, targets, options, text):
    with pytest.raises(iz.ArgumentError, match=text):
        iz.evaluate(Score(), [(as_images(noise(4, outputs)), targets)], **options)


def test_the_task_of_a_net_is_its_own(tiny):
    tiny.task = "multilabel"
    images, labels = noise(4, 3, 8, 8), (noise(4, 3) > 0).float()
    assert iz.evaluate(tiny, [(images, labels)]).task == "multilabel"
    assert iz.evaluate(tiny, [(images, torch.arange(4) % 3)], task="multiclass").task == "multiclass"
    with pytest.raises(iz.ArgumentError, match="task='binary' needs one output"):
        tiny.task = "binary"
    tiny.reset_classifier(1)
    assert tiny.task == "binary"


def test_a_model_that_returns_no_logits():
    class Pair(Score):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return super().forward(x), x

    with pytest.raises(iz.ArgumentError, match=r"the model returned a tuple; evaluate needs a Tensor \(n, outputs\)"):
        iz.evaluate(Pair(), batches(noise(4, 3), INDICES[:4]))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_r2_depends_on_no_unit(scale):
    """It is that of scikit-learn, also for outputs whose targets are all equal."""
    targets = torch.linspace(0, 1, 8)[:, None].repeat(1, 3)
    targets[:, 1:] = 0.5
    values = targets.clone()
    values[:, 0], values[:, 2] = 0.4, 0.3
    found = regression_metrics(scale * values, scale * targets)["r2"]
    assert found == pytest.approx(metrics.r2_score((scale * targets).double(), (scale * values).double()))


CONFIDENT = torch.tensor([40.0, 20.0, 42.0, 50.0, 21.0, 55.0])[:, None]  # in float32 the sigmoid of each is 1
LABELS = torch.tensor([0, 0, 1, 1, 0, 1])
CONFIDENT_LOGITS = {
    "two classes": ("multiclass", torch.cat((0 * CONFIDENT, CONFIDENT), 1), LABELS),
    "three classes": ("multiclass", torch.cat((0 * CONFIDENT, CONFIDENT, 0 * CONFIDENT - 9), 1), LABELS),
    "one logit": ("binary", CONFIDENT, LABELS),
    "labels": ("multilabel", CONFIDENT.repeat(1, 2), LABELS[:, None].repeat(1, 2)),
}


@pytest.mark.parametrize("kind", CONFIDENT_LOGITS)
def test_confident_answers_are_ranked_by_their_logits(kind):
    task, logits, targets = CONFIDENT_LOGITS[kind]
    result = iz.evaluate(Score(), batches(logits, targets), task=task)
    assert result.auc == 1
    false, true, thresholds = result.roc[0 if len(result.roc) == 1 else 1]
    assert torch.trapezoid(true, false) == 1
    assert thresholds.tolist() == [1.0] * 7
    if task == "multilabel":
        assert result.label_auc.tolist() == [1, 1]
        assert result.mean_average_precision == 1
    elif kind != "three classes":
        assert result.sensitivity(1.0) == 1


def test_the_thresholds_of_the_roc_are_probabilities():
    result = iz.evaluate(Score(), batches(noise(12, 2), INDICES % 2))
    ((false, true, thresholds),) = result.roc
    for rate, wanted, threshold in zip(false[1:], true[1:], thresholds[1:], strict=True):
        chosen = result.probabilities[:, 1] >= threshold
        assert chosen[result.targets == 1].float().mean() == wanted
        assert chosen[result.targets == 0].float().mean() == rate


def test_scores_are_the_log_odds_of_the_probabilities():
    logits = noise(9, 4, seed=2).double()
    probabilities = logits.softmax(1)
    assert Task(4).scores(logits).numpy() == pytest.approx(probabilities.logit().numpy())
    assert Task(2).scores(torch.tensor([[0.0, 900.0], [3.0, 3.0]])).tolist() == [[-900, 900], [0, 0]]


def test_accuracy_and_confusion_agree_on_answers_that_are_nearly_equal():
    """In float32 the two largest probabilities are equal."""
    result = iz.evaluate(Score(), batches(torch.tensor([[0.0, 1e-8, -9.0]]), torch.tensor([1])))
    assert result.accuracy == result.confusion[1, 1] == result.balanced_accuracy == 1


def test_batches_whose_memory_is_used_again():
    class Refilled:
        def __iter__(self):
            images, targets = torch.zeros(4, 3, 16, 16), torch.zeros(4, dtype=torch.int64)
            for value in range(2):
                targets.fill_(value)
                yield images, targets

    model = iz.build(iz.network(stem=iz.Conv(8, 3)))
    model.reset_classifier(2)
    assert iz.evaluate(model, Refilled()).targets.tolist() == [0] * 4 + [1] * 4
