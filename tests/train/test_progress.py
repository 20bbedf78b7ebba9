"""The progress of a training: a bar, and a line for each epoch."""

from unittest.mock import patch

import pytest
import torch
from helpers import noise

import inceptionzoo as iz
from inceptionzoo.evaluation import EpochMetrics, _metrics, make_task
from inceptionzoo.train._progress import Progress, describe_row


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(noise(4, 3, 8, 8, seed=index), torch.arange(4) % 2) for index in range(count)]


LINE = r"epoch 2/2: train loss 0.\d+, accuracy [01].?\d*, AUC 0.\d+ | val loss"


@pytest.mark.parametrize(("show", "bar", "lines"), [(True, True, True), (None, False, True), (False, False, False)])
def test_the_bar_and_the_lines(tiny, capfd, show, bar, lines):
    """Standard error is no terminal here."""
    history = iz.fit(tiny, batches(3), batches(1), epochs=2, lr=0.0, progress=show)
    text = capfd.readouterr().err
    assert ("train loss" in text and "/3 [" in text) is bar
    last = text.splitlines()[-1].rpartition("\r")[2] if text else ""
    row = history.epochs[-1]
    train = f"train loss {row['loss']:.4g}, accuracy {row['accuracy']:.4g}, AUC {row['auc']:.4g}"
    val = f"val loss {row['val_loss']:.4g}, accuracy {row['val_accuracy']:.4g}, AUC {row['val_auc']:.4g}"
    best = f"best val_accuracy {row['val_accuracy']:.4g} in epoch 1"  # the weights do not change: the first epoch is the best
    assert (f"epoch 2/2: {train} | {val} | {best} | lr 0, total 0:0" in last) is lines
    assert text.count("epoch 2/2: train loss") == lines
    if not lines:
        assert text == ""


def test_a_row_without_validation_data():
    assert describe_row({"epoch": 0, "lr": 0.1, "loss": 0.5, "auc": 0.25, "seconds": 1.0}) == "train loss 0.5, AUC 0.25"


def test_the_metrics_are_computed_once_an_epoch(tiny):
    """A bar that computes them while it runs takes a time that is quadratic in the steps."""
    with patch.object(_metrics, "auc", wraps=_metrics.auc) as auc:
        iz.fit(tiny, batches(40), epochs=2, progress=True)
    assert auc.call_count == 2


def test_an_update_does_not_read_the_images_before_it(capfd):
    metrics = EpochMetrics(make_task(None, None, own="multiclass", num_outputs=2))
    progress = Progress(0, 1, range(2), 0.1, True, 0.0)
    metrics.update_loss(3.0, 1)
    metrics.logits = metrics.labels = None  # an update that read them would fail
    progress.update(metrics)
    metrics.update_loss(1.0, 3)
    progress.update(metrics)
    assert (metrics.loss_sum / metrics.weight_sum, metrics.logits) == (1.5, None)
