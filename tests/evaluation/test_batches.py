"""The forms of batches that fit and evaluate read."""

from collections import UserDict, namedtuple
from functools import partial

import numpy
import pytest
import torch
from helpers import noise
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import inceptionzoo as iz

IMAGES, TARGETS = noise(4, 3, 8, 8), torch.arange(4) % 3
Sample = namedtuple("Sample", ["image", "target", "path"])
FORMS = {
    "list": [IMAGES, TARGETS],
    "triple": (IMAGES, TARGETS, ["a.png"] * 4),
    "named tuple": Sample(IMAGES, TARGETS, "a.png"),
    "transformers": {"pixel_values": IMAGES, "labels": TARGETS},
    "other keys": {"image": IMAGES, "label": TARGETS, "path": ["a.png"] * 4},
    "mapping": UserDict(x=IMAGES, y=TARGETS),
    "numpy": (IMAGES.numpy(), TARGETS.numpy()),
    "numpy of another dtype": (IMAGES.double().numpy(), TARGETS.numpy().astype(numpy.int32)),
    "numpy with negative strides": (IMAGES.flip(3).numpy()[..., ::-1], TARGETS.flip(0).numpy()[::-1]),
    "int32": (IMAGES, TARGETS.int()),
}


@pytest.mark.parametrize("batch", FORMS.values(), ids=FORMS)
def test_every_form_of_a_batch(tiny, batch):
    assert iz.evaluate(tiny, [batch]).loss == pytest.approx(iz.evaluate(tiny, [(IMAGES, TARGETS)]).loss, rel=1e-5)
    history = iz.fit(tiny, [batch], [batch], epochs=1)
    assert history.epochs[0]["val_loss"] > 0


@pytest.mark.parametrize("call", [iz.evaluate, partial(iz.fit, epochs=1)], ids=["evaluate", "fit"])
def test_an_empty_batch_is_refused(tiny, call):
    with pytest.raises(
        iz.ArgumentError, match=r"a batch with images of shape \(0, 3, 8, 8\) is empty; leave empty batches out"
    ):
        call(tiny, [(IMAGES[:0], TARGETS[:0])])


def test_a_function_unpacks_other_batches(tiny):
    odd = [{"picture": IMAGES, "class": TARGETS}]
    with pytest.raises(
        iz.ArgumentError, match=r"keys \['class', 'picture'\] must have exactly one of 'pixel_values'.*has none.*unpack="
    ):
        iz.evaluate(tiny, odd)
    with pytest.raises(iz.ArgumentError, match=r"has \['image', 'x'\]"):
        iz.evaluate(tiny, [{"image": IMAGES, "x": IMAGES, "y": TARGETS}])

    def unpack(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return batch["picture"], batch["class"]

    assert iz.evaluate(tiny, odd, unpack=unpack).loss == iz.evaluate(tiny, [(IMAGES, TARGETS)]).loss
    assert "val_loss" in iz.fit(tiny, odd, odd, epochs=1, unpack=unpack).epochs[0]
    with pytest.raises(iz.ArgumentError, match="unpack='class' must be a function from a batch"):
        iz.fit(tiny, odd, epochs=1, unpack="class")


class Stream(IterableDataset):
    """Single images, as from a data set without batches."""

    def __iter__(self):
        return iter(zip(IMAGES, TARGETS, strict=True))


SINGLE = {
    "tensors": TensorDataset(IMAGES, TARGETS),
    "stream": Stream(),
    "list": [(IMAGES[0], 2)],
    "labels": [(IMAGES[0], torch.ones(5))],
}


@pytest.mark.parametrize("loader", SINGLE.values(), ids=SINGLE)
def test_a_data_set_in_the_place_of_a_loader(tiny, loader):
    before = tiny.head.fc.weight.clone()
    for call in (lambda: iz.fit(tiny, loader, epochs=1), lambda: iz.evaluate(tiny, loader)):
        with pytest.raises(iz.ArgumentError, match="wrap the data set in a DataLoader"):
            call()
    assert tiny.head.fc.weight.equal(before)


def test_a_data_set_for_validation_is_found_before_the_first_epoch(tiny):
    before = tiny.head.fc.weight.clone()
    with pytest.raises(iz.ArgumentError, match="val is a data set .TensorDataset., which gives single images; wrap"):
        iz.fit(tiny, [(IMAGES, TARGETS)], TensorDataset(IMAGES, TARGETS), epochs=1)
    assert tiny.head.fc.weight.equal(before)


def test_tensors_in_the_place_of_a_loader(tiny):
    with pytest.raises(iz.ArgumentError, match=r"loader=a Tensor of shape \(4, 3, 8, 8\) must be a DataLoader"):
        iz.evaluate(tiny, IMAGES)


def test_a_stream_in_a_loader(tiny):
    assert len(iz.evaluate(tiny, DataLoader(Stream(), 2)).targets) == 4


@pytest.mark.parametrize(
    ("images", "error", "note"),
    [
        (
            [Image.new("RGB", (8, 8))] * 2,
            TypeError,
            "If the data set gives images of Pillow, prepare the images with iz.transforms",
        ),
        (
            [torch.ones(3, 8, 8), torch.ones(3, 8, 9)],
            RuntimeError,
            "If the images have different sizes, prepare the images with",
        ),
    ],
)
def test_images_that_torch_cannot_collate_have_a_note(tiny, images, error, note):
    loader = DataLoader([(image, 0) for image in images], 2)
    for call in (lambda: iz.fit(tiny, loader, epochs=1), lambda: iz.evaluate(tiny, loader)):
        with pytest.raises(error) as raised:
            call()
        assert raised.value.__notes__[0].startswith(note)
        assert len(raised.value.__notes__) == 1
