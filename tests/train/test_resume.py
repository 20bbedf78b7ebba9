"""Resuming: a resumed training ends like an uninterrupted one; what cannot be resumed raises an error."""

import json
import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy
import pytest
import torch
from helpers import one_thread
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    default_collate,
)
from torchvision.transforms import Compose

import inceptionzoo as iz
from inceptionzoo.train._fingerprint import loss_name
from inceptionzoo.train._generators import other_generators
from inceptionzoo.weights._safetensors import MARKER, read_safetensors, write_safetensors


def loader(generator: torch.Generator | None = None) -> DataLoader:
    targets = torch.arange(8) % 2
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + targets[:, None, None, None]
    return DataLoader(TensorDataset(images, targets), 4, shuffle=generator is not None, generator=generator)


class StopError(Exception):
    """Raised by a callback."""


def stop_after(epoch: int) -> object:
    def callback(model: iz.Net, row: dict[str, float]) -> None:
        if row["epoch"] == epoch:
            raise StopError

    return callback


@one_thread()
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "bf16"},
        {"checkpoint": True},
        {"optimizer": AdamW},
        {"optimizer": partial(AdamW, fused=True)},
        {"optimizer": partial(SGD, momentum=0.9, fused=True)},
        {"optimizer": "adamw"},
    ],
    ids=str,
)
def test_resuming_gives_the_same_bits(tiny, tmp_path, options):
    def run(out: Path, **more: object) -> tuple[iz.History, iz.Net]:
        torch.manual_seed(3)
        model = iz.create_model("tiny")
        make = options.get("optimizer")
        arguments = {"optimizer": make(model.parameters(), lr=0.01)} if callable(make) else options
        generator = torch.Generator().manual_seed(1)
        return iz.fit(model, loader(generator), loader(), epochs=3, out=out, **arguments, **more), model

    history, model = run(tmp_path / "a")
    with pytest.raises(StopError):
        run(tmp_path / "b", callbacks=[stop_after(1)])
    again, resumed = run(tmp_path / "b")
    assert len(again.epochs) == 3
    for row, other in zip(history.epochs, again.epochs, strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}
    assert all(value.equal(resumed.state_dict()[key]) for key, value in model.state_dict().items())
    with pytest.warns(UserWarning, match="holds this training, and it is complete; pass resume=False to train again") as warned:
        third, done = run(tmp_path / "b")
    own = [
        warning for warning in warned if "is emulated on" not in str(warning.message)
    ]  # a processor without bf16 adds another
    assert [warning.filename for warning in own] == [__file__]
    assert third.epochs == again.epochs
    assert all(value.equal(done.state_dict()[key]) for key, value in model.state_dict().items())
    fresh, _ = run(tmp_path / "b", resume=False)
    assert fresh.epochs[0]["seconds"] != again.epochs[0]["seconds"]


def test_the_error_says_how_other_data_differs(tiny, tmp_path):
    images, targets = torch.rand(8, 3, 8, 8), torch.arange(8) % 2
    data = TensorDataset(images, targets)
    iz.fit(tiny, DataLoader(data, 4), DataLoader(data, 8), epochs=1, out=tmp_path)
    text = (
        r"data was \(batches: 2, images: 8, random generators: 0\), is \(batches: 3, images: None, random generators: 0\); "
        r"val was \(batches: 1, images: 8, random generators: 0\), is \(batches: None, images: None, random generators: 0\);"
    )
    with pytest.raises(iz.ArgumentError, match=text):
        iz.fit(tiny, [(images, targets)] * 3, epochs=1, out=tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 2, "lr": 0.1}, "lr was None, is 0.1"),
        ({"epochs": 2, "optimizer": "adamw"}, "optimizer was None, is 'adamw'"),
        ({"epochs": 2, "accumulate": 2}, "accumulate was 1, is 2"),
        ({"epochs": 2, "clip_grad_norm": 1.0}, "clip_grad_norm was None, is 1.0"),
        ({"epochs": 2, "class_weights": torch.tensor([1.0, 2.0])}, r"class_weights was None, is \[1.0, 2.0\]"),
    ],
    ids=str,
)
def test_another_training_is_refused(tiny, tmp_path, options, text):
    iz.fit(tiny, loader(), epochs=2, out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    weights = {key: value.clone() for key, value in tiny.state_dict().items()}
    with pytest.raises(iz.ArgumentError, match=f"is of another training: {text}; pass another folder as out, or resume=False"):
        iz.fit(tiny, loader(), out=tmp_path, **options)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert all(value.equal(weights[key]) for key, value in tiny.state_dict().items())


def test_a_newer_argument_that_is_left_out_is_another_training(tiny, tmp_path):
    iz.fit(tiny, loader(), epochs=1, out=tmp_path, clip_grad_norm=1.0)
    with pytest.raises(iz.ArgumentError, match="is of another training: clip_grad_norm was 1.0, is None"):
        iz.fit(tiny, loader(), epochs=1, out=tmp_path)


@one_thread()
@pytest.mark.parametrize("options", [{}, {"optimizer": AdamW}], ids=["cosine", "constant rate"])
def test_more_epochs_continue_a_training(tiny, tmp_path, options):
    """The first rate of a cosine does not depend on the number of epochs, so one and then three epochs equal three epochs."""

    def run(out: Path, epochs: int) -> tuple[iz.History, iz.Net]:
        torch.manual_seed(3)
        model = iz.create_model("tiny")
        arguments = {"optimizer": AdamW(model.parameters(), lr=0.01)} if options else {}
        return iz.fit(model, loader(torch.Generator().manual_seed(1)), epochs=epochs, out=out, ema=0.9, **arguments), model

    expected, reference = run(tmp_path / "a", 3)
    run(tmp_path / "b", 1)
    rates = "" if options else ", with the learning rates of the cosine for that number"
    text = f"holds 1 epochs of a training with epochs=1; it continues to epochs=3{rates}; pass resume=False to start again"
    with pytest.warns(UserWarning, match=text) as warned:
        history, model = run(tmp_path / "b", 3)
    assert [warning.filename for warning in warned] == [__file__]
    assert [{**row, "seconds": 0} for row in history.epochs] == [{**row, "seconds": 0} for row in expected.epochs]
    assert all(value.equal(model.state_dict()[key]) for key, value in reference.state_dict().items())
    before = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    with pytest.raises(iz.ArgumentError, match=r"epochs=2: .*last.safetensors has 3 epochs already; pass at least as many"):
        run(tmp_path / "b", 2)
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == before


def test_a_larger_patience_continues_a_training_that_has_stopped(tiny, tmp_path):
    values = iter([0.0, 0.9, 0.5, 0.0, 0.4, 0.3, 0.0])  # a 0 for the trial before each training
    options = {"epochs": 9, "metrics": {"own": lambda result: next(values)}, "monitor": "own", "out": tmp_path}
    assert len(iz.fit(tiny, loader(), loader(), patience_epochs=1, **options).epochs) == 2
    history = iz.fit(tiny, loader(), loader(), patience_epochs=3, **options)
    assert [row["val_own"] for row in history.epochs] == [0.9, 0.5, 0.4, 0.3]
    with pytest.warns(UserWarning, match="holds this training, and it is complete"):
        iz.fit(tiny, loader(), loader(), patience_epochs=1, **options)


def test_a_callback_that_raises_stop_iteration_ends_the_training(tiny, tmp_path):
    called = []

    def stop(model: iz.Net, row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise StopIteration

    def run() -> iz.History:
        return iz.fit(tiny, loader(), epochs=5, out=tmp_path, callbacks=[stop, lambda _, row: called.append(row["epoch"])])

    history = run()
    assert [row["epoch"] for row in history.epochs] == called == [0, 1]
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3
    assert len(run().epochs) == 5  # the same call continues


@one_thread()
def test_random_numbers_of_a_callback_change_nothing(tiny, tmp_path):
    def draw(*_: object) -> None:
        torch.rand(3), random.random(), numpy.random.rand()

    def run(out: Path, *callbacks: object) -> list[float]:
        torch.manual_seed(3)
        model = iz.create_model("tiny", drop_rate=0.5)
        return [row["loss"] for row in iz.fit(model, loader(), epochs=4, out=out, callbacks=callbacks).epochs]

    uninterrupted = run(tmp_path / "a")
    assert run(tmp_path / "b", draw) == uninterrupted
    with pytest.raises(StopError):
        run(tmp_path / "c", draw, stop_after(1))
    assert run(tmp_path / "c", draw) == uninterrupted


def test_one_optimizer_continues_its_training_twice(tiny, tmp_path):
    """Its settings stay as they are: the state keeps tuples, such as AdamW's betas."""
    optimizer = AdamW(tiny.parameters(), betas=(0.8, 0.9))
    iz.fit(tiny, loader(), epochs=1, optimizer=optimizer, out=tmp_path)
    for epochs in (2, 3):
        with pytest.warns(UserWarning, match=f"it continues to epochs={epochs}"):
            iz.fit(tiny, loader(), epochs=epochs, optimizer=optimizer, out=tmp_path)
        assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)


def test_objects_that_the_training_has_changed_must_be_made_again(tiny, tmp_path):
    def stop(model: iz.Net, row: dict[str, float]) -> None:
        raise StopIteration

    def run() -> iz.History:
        return iz.fit(tiny, loader(), epochs=3, optimizer=optimizer, scheduler=schedule, out=tmp_path, callbacks=[stop])

    optimizer = SGD(tiny.parameters(), lr=0.01)
    schedule = ExponentialLR(optimizer, 0.9)
    run()
    with pytest.raises(
        iz.ArgumentError, match="'lr': 0.009.* If this training has changed them, make a new model, optimizer and scheduler"
    ):
        run()
    optimizer = SGD(tiny.parameters(), lr=0.01)
    schedule = ExponentialLR(optimizer, 0.9)
    assert len(run().epochs) == 2


def test_loss_names_do_not_depend_on_the_process():
    entropy = torch.nn.functional.cross_entropy
    smooth = partial(entropy, label_smoothing=0.1)
    nested = partial(Half, partial(entropy), weight=entropy)
    names = [loss_name(loss) for loss in (None, entropy, smooth, nested, torch.nn.CrossEntropyLoss(), Half())]
    assert len(set(names)) == 6
    assert not any(" at 0x" in name for name in names)
    assert (
        loss_name(smooth)
        == loss_name(partial(entropy, label_smoothing=0.1))
        != loss_name(partial(entropy, label_smoothing=0.2))
    )


class Walk:
    """Batches that continue where the last epoch stopped."""

    def __init__(self, start: object = 0) -> None:
        self.position = start

    def __iter__(self):
        for _ in range(2):
            self.position = (self.position + 1) % 7
            images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(self.position))
            yield images, torch.tensor([0, 1, 0, 1])

    def state_dict(self) -> dict[str, object]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.position = state["position"]


def test_a_loader_with_a_state_dict_is_resumed(tiny, tmp_path):
    def run(out: Path, **more: object) -> iz.History:
        torch.manual_seed(3)
        return iz.fit(iz.create_model("tiny"), Walk(), epochs=4, out=out, **more)

    uninterrupted = run(tmp_path / "a")
    with pytest.raises(StopError):
        run(tmp_path / "b", callbacks=[stop_after(1)])
    assert [row["loss"] for row in run(tmp_path / "b").epochs] == [row["loss"] for row in uninterrupted.epochs]
    loader = Walk()
    loader.state_dict = lambda: {"position": object()}
    with pytest.raises(iz.ArgumentError, match="loader.position.*cannot be saved in out for resuming"):
        iz.fit(tiny, loader, epochs=1, out=tmp_path / "c")


def other_optimizer(model: iz.Net, lr: float) -> dict[str, object]:
    return {"optimizer": AdamW(model.parameters(), lr=lr)}


def zeros(count: int) -> DataLoader:
    return DataLoader(TensorDataset(torch.zeros(count, 3, 8, 8), torch.arange(count) % 2), 4)


@pytest.mark.parametrize(
    "change",
    ["learning rate of an optimizer", "data", "loss", "dropout", "image size", "generator", "validation data", "data type"],
)
def test_other_data_or_another_model_is_refused(tiny, tmp_path, change):
    def run(*, changed: bool) -> None:
        torch.manual_seed(0)
        model = iz.create_model("tiny", drop_rate=0.5 if changed and change == "dropout" else 0.0)
        if changed and change == "image size":
            model.set_input_size(16)
        if changed and change == "data type":
            model.double()
        options: dict[str, object] = {}
        if change == "learning rate of an optimizer":
            options = other_optimizer(model, 0.1 if changed else 0.01)
        elif changed and change == "loss":
            options = {"loss": torch.nn.functional.cross_entropy}
        data = loader(torch.Generator() if changed and change == "generator" else None)
        data = zeros(12) if changed and change == "data" else data
        iz.fit(model, data, zeros(8 if changed and change == "validation data" else 4), epochs=2, out=tmp_path, **options)

    run(changed=False)
    with pytest.raises(iz.ArgumentError, match="is of another training"):
        run(changed=True)


def test_what_cannot_be_resumed(tiny, tmp_path):
    with pytest.raises(iz.ArgumentError, match="resume=True needs out"):
        iz.fit(tiny, loader(), epochs=1, resume=True)
    with pytest.raises(iz.ArgumentError, match=r"resume=True: .*last\.safetensors does not exist"):
        iz.fit(tiny, loader(), epochs=1, resume=True, out=tmp_path)
    optimizer = AdamW(tiny.parameters())
    with pytest.raises(iz.ArgumentError, match="cannot be saved in out for resuming; pass out=None"):
        iz.fit(tiny, loader(), epochs=1, optimizer=optimizer, scheduler=LambdaLR(optimizer, Half()), out=tmp_path / "a")
    iz.fit(tiny, loader(), epochs=1, out=tmp_path)
    with pytest.raises(iz.ArgumentError, match="train is an iterator, which cannot be rewound"):
        iz.fit(tiny, iter(loader()), epochs=1, out=tmp_path)
    path = tmp_path / "last.safetensors"
    with pytest.raises(iz.FileError, match="holds the state of a training, not a model; load best.safetensors"):
        iz.load_model(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(iz.FileError, match="do not match its own digest"):
        iz.fit(tiny, loader(), epochs=1, out=tmp_path)
    iz.save_weights(tiny, path)
    with pytest.raises(iz.FileError, match="does not hold a training; remove it, or pass another folder as out"):
        iz.fit(tiny, loader(), epochs=1, out=tmp_path)


@pytest.mark.filterwarnings("ignore:.* it continues to epochs=2")
def test_persistent_workers_warn_when_a_training_begins_and_is_resumed(tiny, tmp_path):
    workers = DataLoader(loader().dataset, 4, num_workers=1, persistent_workers=True)
    for epochs in (1, 2):
        with pytest.warns(UserWarning, match="does not hold the random generators of its workers") as warned:
            assert len(iz.fit(tiny, workers, epochs=epochs, out=tmp_path).epochs) == epochs
        assert warned[0].filename == __file__
    iz.fit(tiny, workers, epochs=1)


def test_another_number_of_workers_warns(make, tmp_path):
    """Workers draw random numbers from seeds of their own."""
    workers = DataLoader(loader().dataset, 4, num_workers=1)
    with pytest.raises(StopError):
        iz.fit(make(), loader(), epochs=3, out=tmp_path, callbacks=[stop_after(0)])
    with (
        pytest.warns(UserWarning, match=r"had num_workers=\[0\], and now they have \[1\]") as warned,
        pytest.raises(StopError),
    ):
        iz.fit(make(), workers, epochs=3, out=tmp_path, callbacks=[stop_after(1)])
    assert [warning.filename for warning in warned] == [__file__]
    assert len(iz.fit(make(), workers, epochs=3, out=tmp_path).epochs) == 3


@one_thread()
def test_numbers_of_numpy_in_an_optimizer_keep_their_type(make, tmp_path):
    """A rate of numpy.float32 times a factor is rounded to 32 bits."""

    def run(out: Path, **options: object) -> list[float]:
        model = make()
        optimizer = SGD(model.parameters(), lr=numpy.float32(0.01))
        schedule = ExponentialLR(optimizer, 0.9)
        history = iz.fit(model, loader(), epochs=4, optimizer=optimizer, scheduler=schedule, out=out, **options)
        return [row["lr"] for row in history.epochs]

    with pytest.raises(StopError):
        run(tmp_path / "b", callbacks=[stop_after(1)])
    assert run(tmp_path / "b") == run(tmp_path / "a")


class Half:
    """A schedule with a state that JSON cannot hold."""

    def __init__(self) -> None:
        self.seen = {object()}

    def __call__(self, epoch: int) -> float:
        return 0.5**epoch


def test_the_file_is_not_a_pickle(tiny, tmp_path):
    iz.fit(tiny, loader(), epochs=1, out=tmp_path)
    tensors, metadata = read_safetensors(tmp_path / "last.safetensors")
    assert {key.partition(".")[0] for key in tensors} == {"model", "optimizer", "random"}
    assert json.loads(metadata["inceptionzoo"])["kind"] == "training"
    assert os.listdir(tmp_path).count("last.safetensors") == 1


class Shuffled(Sampler):
    """A sampler that draws from a generator of its own."""

    def __init__(self, generator: object) -> None:
        self.source = generator

    def __iter__(self):
        order = list(range(8))
        self.source.shuffle(order)
        return iter(order)


class Noisy(TensorDataset):
    """A data set that draws from a generator of its own."""

    source = None

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, target = super().__getitem__(index)
        return image + self.source.random(), target


GENERATORS = {
    "PCG64": lambda: numpy.random.default_rng(5),
    "MT19937": lambda: numpy.random.Generator(numpy.random.MT19937(5)),
    "RandomState": lambda: numpy.random.RandomState(5),
    "Random": lambda: random.Random(5),
}


@one_thread()
@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("place", ["sampler", "batch sampler", "data set"])
def test_generators_of_numpy_and_python_go_on(tiny, tmp_path, kind, place):
    def run(out: str, last: int) -> list[float]:
        torch.manual_seed(3)
        model, images = iz.create_model("tiny"), loader().dataset
        if place == "data set":
            images = Noisy(*images.tensors)
            images.source = GENERATORS[kind]()
            train = DataLoader(images, 4)
        elif place == "sampler":
            train = DataLoader(images, 4, sampler=Shuffled(GENERATORS[kind]()))
        else:
            train = DataLoader(images, batch_sampler=BatchSampler(Shuffled(GENERATORS[kind]()), 4, drop_last=False))

        def stop(_: iz.Net, row: dict[str, float]) -> None:
            if row["epoch"] == last:
                raise StopIteration

        iz.fit(model, train, train, epochs=3, out=tmp_path / out, callbacks=[stop])
        return model.head.fc.weight.flatten().tolist()

    whole = run("a", 9)
    run("b", 0)
    assert run("b", 9) == whole


@one_thread()
@pytest.mark.parametrize("kind", ["of torch", *GENERATORS])
def test_the_generators_of_the_validation_data_go_on(tiny, tmp_path, kind):
    def run(out: str, last: int) -> list[float]:
        torch.manual_seed(3)
        images = loader().dataset
        if kind == "of torch":
            val = DataLoader(images, 4, sampler=RandomSampler(images, replacement=True, generator=torch.Generator()))
        else:
            images = Noisy(*images.tensors)
            images.source = GENERATORS[kind]()
            val = DataLoader(images, 4)

        def stop(_: iz.Net, row: dict[str, float]) -> None:
            if row["epoch"] == last:
                raise StopIteration

        history = iz.fit(iz.create_model("tiny"), loader(), val, epochs=3, out=tmp_path / out, callbacks=[stop])
        return [row["val_loss"] for row in history.epochs]

    whole = run("a", 9)
    run("b", 0)
    assert run("b", 9) == whole


class Jitter:
    """A transform that draws from a generator of torch."""

    def __init__(self) -> None:
        self.draws = [torch.Generator().manual_seed(5)]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image + torch.rand((), generator=self.draws[0])


class Transformed(TensorDataset):
    """A data set with a transform."""

    transform = None

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, target = super().__getitem__(index)
        return self.transform(image), target


class Collate:
    """A collate function with a transform."""

    def __init__(self) -> None:
        self.jitter = Jitter()

    def __call__(self, batch: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
        images, targets = default_collate(batch)
        return self.jitter(images), targets


def loader_with_a_generator(place: str) -> object:
    images = loader().dataset
    if place == "collate function":
        return DataLoader(images, 4, collate_fn=Collate())
    if place == "inside a Subset":
        noisy = Noisy(*images.tensors)
        noisy.source = random.Random(5)
        return DataLoader(Subset(noisy, range(8)), 4, shuffle=True)
    transformed = Transformed(*images.tensors)
    transformed.transform = Compose([Jitter()])
    return DataLoader(ConcatDataset([transformed]) if place == "transform of a part" else transformed, 4)


@one_thread()
@pytest.mark.parametrize("place", ["inside a Subset", "transform", "transform of a part", "collate function"])
def test_generators_inside_the_parts_of_a_loader_go_on(make, tmp_path, place):
    def run(out: str, last: int) -> list[float]:
        def stop(_: iz.Net, row: dict[str, float]) -> None:
            if row["epoch"] == last:
                raise StopIteration

        data = loader_with_a_generator(place)
        history = iz.fit(make(), data, epochs=3, out=tmp_path / out, callbacks=[stop], seed=0)
        return [row["loss"] for row in history.epochs]

    whole = run("a", 9)
    run("b", 0)
    assert run("b", 9) == whole


def test_parts_of_a_loader_that_have_no_state():
    images = loader().dataset
    images.source, images.itself = random.SystemRandom(), images
    images.items = [Jitter() for _ in range(101)]
    assert other_generators(DataLoader(images, 4)) == {}


def test_a_state_that_the_optimizer_does_not_take_leaves_the_model(make, tmp_path):
    """A callback adds a group; when the training is resumed, the optimizer has one group less than its state."""

    def run(last: int) -> iz.Net:
        model = make()
        model.features.requires_grad_(False)
        optimizer = SGD(model.head.parameters(), lr=0.1)

        def unfreeze(_: iz.Net, row: dict[str, float]) -> None:
            if row["epoch"] == 0:
                model.features.requires_grad_(True)
                optimizer.add_param_group({"params": list(model.features.parameters())})
            if row["epoch"] == last:
                raise StopIteration

        models.append(model)
        iz.fit(model, loader(), epochs=3, optimizer=optimizer, callbacks=[unfreeze], out=tmp_path)
        return model

    models: list[iz.Net] = []
    run(1)
    before = make().state_dict()
    with pytest.raises(
        iz.ArgumentError, match="the saved state of the optimizer does not fit: .*; pass the same optimizer as before"
    ):
        run(9)
    assert all(value.equal(before[key]) for key, value in models[1].state_dict().items())


def frozen(model: iz.Net) -> None:
    model.features.requires_grad_(False)


def in_evaluation(model: iz.Net) -> None:
    model.features.conv1.eval()


OTHERS = {  # how the model is prepared, the loss, and the class names
    "loss_settings was {.*'label_smoothing': 0.1.*, is {.*'label_smoothing': 0.0": (
        None,
        nn.CrossEntropyLoss(label_smoothing=0.1),
        None,
    ),
    r"loss_settings was {.*'weight': \[1.0, 5.0\]": (None, nn.CrossEntropyLoss(torch.tensor([1.0, 5.0])), None),
    "frozen was '21 parameters and 0 modules in evaluation mode .*, is None": (frozen, nn.CrossEntropyLoss(), None),
    "frozen was '0 parameters and 4 modules in evaluation mode .*, is None": (in_evaluation, nn.CrossEntropyLoss(), None),
    r"classes was \['dog', 'cat'\], is None": (None, nn.CrossEntropyLoss(), ["dog", "cat"]),
}


@pytest.mark.parametrize("text", OTHERS)
def test_another_loss_frozen_part_or_class_is_another_training(make, tmp_path, text):
    prepare, loss, names = OTHERS[text]
    model, data = make(), loader()
    data.dataset.classes = names
    if prepare is not None:
        prepare(model)
    iz.fit(model, data, epochs=1, loss=loss, out=tmp_path)
    with pytest.raises(iz.ArgumentError, match=text):
        iz.fit(make(), loader(), epochs=2, loss=nn.CrossEntropyLoss(), out=tmp_path)
    again = make()
    if prepare is not None:
        prepare(again)
    with pytest.warns(UserWarning, match="it continues to epochs=2"):
        assert len(iz.fit(again, data, epochs=2, loss=loss, out=tmp_path).epochs) == 2


@one_thread()
def test_what_a_callback_has_unfrozen_is_not_frozen_again(make, tmp_path):
    def run(out: str, last: int) -> list[float]:
        model = make()
        model.features.requires_grad_(False)

        def unfreeze(trained: iz.Net, row: dict[str, float]) -> None:
            if row["epoch"] == 0:
                trained.requires_grad_(True)
            if row["epoch"] == last:
                raise StopIteration

        iz.fit(model, loader(), epochs=4, out=tmp_path / out, callbacks=[unfreeze])
        return next(model.parameters()).flatten().tolist()

    whole = run("a", 9)
    run("b", 1)
    assert run("b", 9) == whole


@one_thread()
@pytest.mark.parametrize("whole", [False, True], ids=["a part", "the whole model"])
def test_the_mode_that_a_callback_set_is_resumed(make, tmp_path, whole):
    """A part in evaluation mode stays in it, also if a later callback leaves the whole model in evaluation mode."""

    def run(out: str, last: int) -> dict[str, torch.Tensor]:
        def change(model: iz.Net, row: dict[str, float]) -> None:
            if row["epoch"] == 0:
                model.features.conv1.eval()
            elif whole:
                model.eval()
            if row["epoch"] == last:
                raise StopIteration

        model = make()
        iz.fit(model, loader(), epochs=3, out=tmp_path / out, callbacks=[change])
        return model.state_dict()

    expected = run("a", 9)
    run("b", 1)
    resumed = run("b", 9)
    assert all(value.equal(resumed[key]) for key, value in expected.items())


def test_the_soft_labels_of_train_are_remembered(make, tmp_path):
    """MixUp makes soft labels in some batches only; a loss of the user's then gets rows for val in every later epoch."""
    images, targets = loader().dataset.tensors
    soft = [(images, nn.functional.one_hot(targets, 2).float()), (images, targets)]

    class Mixed:
        def __init__(self, first: int) -> None:
            self.epoch = first

        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            self.epoch += 1
            return iter(soft if self.epoch == 1 else soft[1:])

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(labels.shape))
        return nn.functional.cross_entropy(logits, labels)

    def run(first: int, epochs: int) -> list[tuple[int, ...]]:
        shapes.clear()
        iz.fit(make(), Mixed(first), [(images, targets)], epochs=epochs, loss=loss, lr=0.01, out=tmp_path)
        return shapes

    shapes: list[tuple[int, ...]] = []
    assert run(0, 2)[-2:] == [(8,), (8, 2)]
    with pytest.warns(UserWarning, match="it continues to epochs=3"):
        assert run(2, 3)[-2:] == [(8,), (8, 2)]


def test_out_must_be_a_folder(tiny, tmp_path):
    path = tmp_path / "run"
    path.write_text("")
    with pytest.raises(iz.ArgumentError, match="run' is a file, and must be a folder; pass another path"):
        iz.fit(tiny, loader(), epochs=1, out=path)
    for folder in (path / "inside", Path("/proc/self/task")):  # no process can make files in the second
        with pytest.raises(iz.ArgumentError, match=f"{folder}' must be a folder that can be written to: .*; pass another path"):
            iz.fit(tiny, loader(), epochs=1, out=folder)


def test_a_state_of_version_0_1_does_not_say_what_is_frozen(make, tmp_path):
    """It has neither the class names nor the settings of the loss, so they are not compared, and the loss keeps its own."""

    def train(epochs: int) -> iz.History:
        model, data = make(), loader()
        data.dataset.classes = ["cat", "dog"]
        model.features.conv1.requires_grad_(False)
        loss = nn.CrossEntropyLoss(torch.tensor([1.0, 5.0]))
        return iz.fit(model, data, epochs=epochs, loss=loss, out=tmp_path)

    train(1)
    tensors, metadata = read_safetensors(tmp_path / "last.safetensors")
    header = json.loads(metadata[MARKER])
    for key in ("classes", "frozen", "loss_settings"):
        del header["asked"][key]
    del header["frozen"], header["states"]["loss"]
    write_safetensors(tmp_path / "last.safetensors", tensors, {**metadata, MARKER: json.dumps(header)})
    with pytest.warns(UserWarning, match="it continues to epochs=2"):
        assert len(train(2).epochs) == 2


def test_what_the_last_callback_changed_is_resumed(tiny, tmp_path):
    """The state is saved before the callbacks, so that a callback that fails loses no epoch, and again behind them."""

    def run(out: Path, *, interrupts: bool) -> iz.Net:
        def unfreeze(model: iz.Net, row: dict[str, float]) -> None:
            if row["epoch"] == 0:
                model.features.requires_grad_(True)

        def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            passes.append(len(passes))
            if interrupts and passes == [0, 1]:
                raise KeyboardInterrupt
            yield from loader()

        class Batches:
            def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
                return batches()

            def __len__(self) -> int:
                return 2

        torch.manual_seed(3)
        model, passes = iz.create_model("tiny"), list[int]()
        model.features.requires_grad_(False)
        iz.fit(model, Batches(), epochs=3, out=out, callbacks=[unfreeze], progress=False, seed=0)
        return model

    expected = run(tmp_path / "a", interrupts=False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", interrupts=True)
    resumed = run(tmp_path / "b", interrupts=False)
    assert all(value.equal(resumed.state_dict()[key]) for key, value in expected.state_dict().items())
