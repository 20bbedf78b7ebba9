"""What open_image says of files that are no images, and of images that are passed in a wrong way."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import inceptionzoo as iz

COLOUR = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html>", r"it begins with b'<!DOCTYPE html>'; convert it to PNG or JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC image; install pillow-heif"),
    ],
    ids=["empty", "HTML", "HEIC"],
)
def test_the_error_says_what_a_file_is(tmp_path, content, message):
    (tmp_path / "x.jpg").write_bytes(content)
    for source in (tmp_path / "x.jpg", io.BytesIO(content), content):
        with pytest.raises(iz.ImageError, match=f"can read: {message}"):
            iz.open_image(source)


class Upload:
    async def read(self) -> bytes:
        return b""


def closed(source: object) -> object:
    source.close()
    return source


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.open(), "x.png is open as text"),
        (lambda _: io.StringIO("x"), "is open as text; open it with open"),
        (lambda path: closed(path.open("rb")), "x.png is a closed file"),
        (lambda path: closed(Image.open(path)), "x.png: the image is closed before it was read"),
        (lambda _: Upload(), "read asynchronously; pass its bytes"),
        (lambda _: "https://example.org/x.png", "image 'https://example.org/x.png' is a URL"),
        (lambda _: "data:image/png;base64," + "A" * 999, r"A\.\.\.' is a URL, not a path"),
        (lambda path: path.parent, "is a folder; pass the path of an image"),
        (lambda _: "", "image path '' is empty"),
    ],
    ids=["text", "StringIO", "closed file", "closed image", "async", "URL", "data URL", "folder", "empty"],
)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_sound_image_passed_in_a_wrong_way_is_not_called_damaged(tmp_path, make, message):
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    with pytest.raises(iz.ArgumentError, match=message):
        iz.open_image(make(tmp_path / "x.png"))


def test_an_image_that_was_read_and_closed_is_accepted(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        image.load()
    assert (np.asarray(iz.open_image(image)) == COLOUR).all()


def test_pillows_limit_of_pixels_is_named(tmp_path, monkeypatch):
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(iz.ImageError, match=r"x.png is too large: .* limit of 200 pixels.*raise PIL.Image.MAX_IMAGE_PIXELS"):
        iz.open_image(tmp_path / "x.png")


def test_channels_on_the_other_side():
    with pytest.raises(iz.ArgumentError, match=r"pass image.transpose\(1, 2, 0\)"):
        iz.open_image(COLOUR.transpose(2, 0, 1))
    with pytest.raises(iz.ArgumentError, match=r"pass image.permute\(2, 0, 1\)"):
        iz.open_image(torch.from_numpy(COLOUR))
