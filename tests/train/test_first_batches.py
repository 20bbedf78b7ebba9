"""Data that does not fit is found before the first epoch, and the model stays as it was."""

import copy
import random
import warnings

import numpy
import pytest
import torch
from helpers import noise
from timm.loss import SoftTargetCrossEntropy
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import inceptionzoo as iz

IMAGES, CLASSES = noise(8, 3, 8, 8), torch.arange(8) % 2
DATA = [(IMAGES, CLASSES)]

WRONG_VAL = {
    "targets from 1 to 2 must lie in 0..1": [(IMAGES, CLASSES + 1)],
    "images of torch.uint8 must be floating point": [(IMAGES.byte(), CLASSES)],
    "a batch of type Tensor must be two Tensors": (IMAGES, CLASSES),
    "a batch with the keys": [{"img": IMAGES, "label": CLASSES}],
    "must have shape .n, 3, height, width": [(IMAGES[:, :2], CLASSES)],
}


@pytest.mark.parametrize("text", WRONG_VAL)
def test_validation_data_is_tried_before_the_first_epoch(tiny, text):
    before, rows = copy.deepcopy(tiny.state_dict()), []
    with pytest.raises(iz.ZooError, match=text):
        iz.fit(tiny, DATA, WRONG_VAL[text], epochs=2, callbacks=[lambda _, row: rows.append(row)])
    assert rows == []
    assert all(value.equal(before[key]) for key, value in tiny.state_dict().items())


def test_an_error_of_the_first_validation_batch_names_val(tiny):
    with pytest.raises(iz.ArgumentError, match="^val: targets from 1 to 2"):
        iz.fit(tiny, DATA, [(IMAGES, CLASSES + 1)], epochs=1)
    with pytest.raises(iz.InputError, match="^val: images of shape"):
        iz.fit(tiny, DATA, [(IMAGES[:, :2], CLASSES)], epochs=1)


class Drawn(TensorDataset):
    """A data set that draws from every random generator."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, target = super().__getitem__(index)
        return image + torch.rand(()) + random.random() + numpy.random.rand(), target


def test_the_trial_draws_no_random_numbers(make, monkeypatch):
    """The training is the same with the trial and without it."""

    def run() -> list[float]:
        generator = torch.Generator().manual_seed(1)
        val = DataLoader(Drawn(IMAGES, CLASSES), 4, shuffle=True, generator=generator)
        model = make()
        rows = iz.fit(model, DataLoader(Drawn(IMAGES, CLASSES), 4, shuffle=True), val, epochs=2, seed=0).epochs
        return [value for row in rows for key, value in row.items() if key != "seconds"]

    with_trial = run()
    monkeypatch.setattr("inceptionzoo.train._trainer.try_first_batch", lambda *_: None)
    assert run() == with_trial


def test_a_trial_that_fails_draws_no_random_numbers(tiny):
    val = DataLoader(Drawn(IMAGES, CLASSES + 1), 4)
    state = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with pytest.raises(iz.ArgumentError, match="^val: targets"):
        iz.fit(tiny, DATA, val, epochs=1)
    assert (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == state


def test_an_iterator_is_not_tried(tiny):
    read = []
    val = (read.append(index) or batch for index, batch in enumerate(DATA * 3))
    row = iz.fit(tiny, DATA, val, epochs=1).epochs[0]
    assert read == [0, 1, 2]
    assert row["val_loss"] > 0


@pytest.mark.parametrize("argument", ["train", "val"])
@pytest.mark.parametrize("kind", ["generator", "zip", "map", "_SingleProcessDataLoaderIter", "list_iterator"])
def test_what_can_be_read_once_is_refused_for_several_epochs(tiny, argument, kind):
    loader = DataLoader(TensorDataset(IMAGES, CLASSES), 4)
    once = {
        "generator": (batch for batch in DATA),
        "zip": zip([IMAGES], [CLASSES], strict=True),
        "map": map(tuple, DATA),
        "_SingleProcessDataLoaderIter": iter(loader),
        "list_iterator": iter(DATA),
    }[kind]
    data = {"train": DATA, "val": DATA, argument: once}
    with pytest.raises(iz.ArgumentError, match=f"{argument} is a {kind}, which can be read only once, and epochs=2; pass a"):
        iz.fit(tiny, **data, epochs=2)
    assert len(iz.fit(tiny, **data, epochs=1).epochs) == 1


class Rewound:
    """An iterator that begins again, as those of DALI do."""

    def __iter__(self) -> "Rewound":
        self.left = 2
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return DATA[0]


def test_an_iterator_that_begins_again_is_read_again(tiny):
    assert len(iz.fit(tiny, Rewound(), Rewound(), epochs=2).epochs) == 2


def test_an_error_leaves_the_task_and_the_names(make):
    model = make()
    model.set_class_names(["a", "b"])
    data = TensorDataset(IMAGES, CLASSES + 5)
    data.classes = ["x", "y"]
    with pytest.raises(iz.ArgumentError, match="targets from 5 to 6"):
        iz.fit(model, DataLoader(data, 4), epochs=1)
    with pytest.raises(iz.ArgumentError, match=r"must be \(n, 2\), because task='multilabel'"):
        iz.fit(model, DATA, epochs=1, task="multilabel")
    with pytest.raises(iz.InputError, match="must have shape"):
        iz.fit(model, [(IMAGES[:, :2], noise(8, 2))], epochs=1, task="regression")
    assert (model.task, model.class_names) == ("multiclass", ("a", "b"))


@pytest.mark.parametrize("batch", [(torch.arange(8), IMAGES, CLASSES), (CLASSES, IMAGES), (torch.rand(8), IMAGES)], ids=len)
def test_a_batch_in_another_order_says_so(tiny, batch):
    with pytest.raises(iz.ArgumentError, match=r"images of shape \(8,\) and .* for another order pass unpack=lambda batch"):
        iz.fit(tiny, [batch], epochs=1)
    with pytest.raises(iz.ArgumentError, match="The first part of a batch is the images, the second the targets"):
        iz.evaluate(tiny, [batch])


def test_labels_that_do_not_count_have_a_remedy(tiny):
    with pytest.raises(iz.ArgumentError, match=r"to ignore targets of one value, pass .*\(ignore_index="):
        iz.evaluate(tiny, [(IMAGES, CLASSES - 1)])
    assert len(iz.evaluate(tiny, [(IMAGES, CLASSES - 1)], loss=nn.CrossEntropyLoss(ignore_index=-1)).targets) == 4


@pytest.mark.parametrize("size", [2, 4], ids=["as many images as classes", "more images"])
def test_a_loss_of_soft_labels_gets_the_classes_of_val_as_such(tiny, size):
    """Class indices (n,) times log-probabilities (n, classes) would be broadcast, or fail after the epoch."""
    soft = 0.8 * F.one_hot(CLASSES, 2) + 0.1
    val = list(zip(IMAGES.split(size), CLASSES.split(size), strict=True))
    row = iz.fit(tiny, [(IMAGES, soft)], val, epochs=1, loss=SoftTargetCrossEntropy()).epochs[0]
    assert row["val_loss"] == pytest.approx(F.cross_entropy(tiny.eval()(IMAGES), CLASSES).item(), rel=1e-4)


def test_samplers_and_data_sets_learn_the_epoch(tiny):
    """They draw another order in each epoch by it: DistributedSampler, timm's RepeatAugSampler, datasets' IterableDataset."""
    seen = []

    class Images(TensorDataset):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append(index)
            return super().__getitem__(index)

        def set_epoch(self, epoch: int) -> None:
            seen.append(f"epoch {epoch}")

    data = Images(IMAGES, CLASSES)
    sampler = DistributedSampler(data, num_replicas=1, rank=0, shuffle=True)
    iz.fit(tiny, DataLoader(data, 4, sampler=sampler), epochs=2)
    assert (seen[0], seen[9]) == ("epoch 0", "epoch 1")
    first, second = seen[1:9], seen[10:]
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second


@pytest.mark.parametrize("argument", ["batch_sampler", "sampler"])
def test_a_sampler_learns_the_epoch_once(tiny, argument):
    """DataLoader makes a batch sampler that holds the sampler too."""
    epochs = []

    class Indices(Sampler):
        def set_epoch(self, epoch: int) -> None:
            epochs.append(epoch)

        def __iter__(self):
            yield from ([0, 1, 2, 3], [4, 5, 6, 7]) if argument == "batch_sampler" else range(8)

    options = {} if argument == "batch_sampler" else {"batch_size": 4}
    iz.fit(tiny, DataLoader(TensorDataset(IMAGES, CLASSES), **{argument: Indices()}, **options), epochs=3)
    assert epochs == [0, 1, 2]


def test_a_monitor_without_a_value_warns(tiny):
    """The validation data has one class."""
    val = [(IMAGES, torch.zeros(8, dtype=torch.long))]
    with pytest.warns(UserWarning, match="'val_auc' is nan after the first epoch: AUC needs images of two classes") as seen:
        history = iz.fit(tiny, DATA, val, epochs=3, monitor="auc")
    assert [warning.filename for warning in seen] == [__file__]
    assert history.best is history.epochs[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iz.fit(tiny, DATA, val, epochs=2)


def test_class_weights_of_zero_are_refused(tiny):
    with pytest.raises(iz.ArgumentError, match=r"class_weights of shape \(2,\) are all 0, so that no image counts"):
        iz.fit(tiny, DATA, epochs=1, class_weights=[0.0, 0.0])


@pytest.mark.parametrize("callback", [lambda row: None, lambda model, row, more: None], ids=["one", "three"])
def test_a_callback_that_does_not_take_two_arguments(tiny, callback):
    with pytest.raises(
        iz.ArgumentError, match=r"callbacks: .*<lambda>\(.*row.*\) must take two arguments, the model and the row"
    ):
        iz.fit(tiny, DATA, epochs=1, callbacks=[callback])


@pytest.mark.parametrize("callback", [lambda *both: None, lambda model, row, more=1: None], ids=["*", "default"])
def test_callbacks_that_take_two_arguments(tiny, callback):
    assert len(iz.fit(tiny, DATA, epochs=1, callbacks=[callback]).epochs) == 1


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("head.fc.weight", torch.nan, "all values must be finite"),
        ("features.conv1.bn.running_mean", torch.inf, "all values must be finite"),
        ("features.conv1.bn.running_var", -1, "no value may be negative"),
    ],
)
def test_weights_that_could_not_be_saved_are_refused(tiny, key, value, text):
    tiny.state_dict()[key].view(-1)[0] = value
    with pytest.raises(iz.ArgumentError, match=f"model: {key}: {text} .*; load other weights"):
        iz.fit(tiny, DATA, epochs=1)


@pytest.mark.parametrize("loss", [lambda z, t: F.cross_entropy(z.detach(), t), lambda z, t: (z.argmax(1) != t).float().mean()])
def test_a_loss_without_a_gradient(tiny, loss):
    before = tiny.head.fc.weight.clone()
    with pytest.raises(iz.ArgumentError, match="loss returned a Tensor without a gradient: compute it from the logits"):
        iz.fit(tiny, DATA, epochs=1, loss=loss)
    assert tiny.head.fc.weight.equal(before)


def test_probabilities_that_are_taken_for_logits_warn(tiny):
    tiny.register_forward_hook(lambda _, __, logits: logits.softmax(1))
    with pytest.warns(
        UserWarning, match="the model seems to return probabilities of a softmax, but logits are expected"
    ) as seen:
        iz.fit(tiny, DATA, DATA, epochs=2)
    assert [warning.filename for warning in seen] == [__file__]


def test_a_loss_that_is_no_mean_warns_once(tiny):
    class Dice(nn.Module):
        def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            positive = logits.softmax(1)[:, 1]
            return 1 - 2 * (positive * targets).sum() / (positive.sum() + targets.sum() + 1)

    with pytest.warns(UserWarning, match="for a batch of 8 images, and the mean of the losses of the single images is") as seen:
        iz.fit(tiny, DATA, DATA, epochs=3, loss=Dice())
    assert len(seen) == 1
