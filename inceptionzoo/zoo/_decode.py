"""Turn what Pillow has opened into 8-bit pixels: orientation, bit depth, transparency, colour mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ._pixels import DARKEST_16_BIT, scale_to_bytes

if TYPE_CHECKING:
    from PIL import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's modes by number of channels
ORIENTATION = 0x0112  # tags of EXIF and TIFF
PHOTOMETRIC, BITS_PER_SAMPLE, MAX_SAMPLE_VALUE = 262, 258, 281
COMPRESSION, PLANAR_CONFIGURATION, SAMPLE_FORMAT = 259, 284, 339
WHITE_IS_ZERO, UNCOMPRESSED, SEPARATE, SIGNED = 0, 1, 2, 2
GREY_STEPS = {"1": 255, "L;2": 85, "L;4": 17}  # between the grey values of PNG files of 1, 2 and 4 bits


def decode(image: Image.Image, channels: int, background: str, max_value: float | None, name: str) -> Image.Image:
    """Return the image the right way up, in 8 bits and in the mode for `channels`. The arguments are those of `open_image`."""
    if 0 in image.size:
        raise ArgumentError(f"{name} has size {image.size}; each side must be at least 1 px")
    raw_mode = str(getattr(image, "tile", ""))  # empty after load()
    _check_tags(getattr(image, "tag_v2", {}), name)
    image.load()
    turn = _turn(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _reduce(image, max_value, f"{name} of mode {image.mode}")
    elif ";16" in raw_mode and image.mode in ("RGB", "RGBA", "RGBX", "CMYK"):
        _check_high_bytes(image, max_value, name)
    image = _scale_transparent_colour(image, raw_mode)
    image = convert_mode(image, channels, background)
    image = image if turn is None else image.transpose(turn)
    image.info.clear()  # what it says of orientation and transparency is done
    return image


def convert_mode(image: Image.Image, channels: int, background: str) -> Image.Image:
    """Return an 8-bit image as grey, RGB or RGBA. A transparent image is composed over `background`, unless alpha is kept."""
    from PIL import Image

    is_palette_with_alpha = image.palette is not None and image.palette.mode.endswith("A")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info or is_palette_with_alpha:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        if channels == 4:
            return image.convert("RGBa").convert("RGBA")  # multiplied by alpha and back: hidden colours become black
        canvas = Image.new("RGBA", image.size, background)
        canvas.alpha_composite(image)
        image = canvas
    return image.convert("RGB").convert(MODES[channels])  # Pillow converts LAB and HSV to RGB only


def _check_tags(tags: Any, name: str) -> None:
    """Check the tags of a TIFF file: there are two kinds of file that Pillow misreads without an error.

    Raises:
        ArgumentError: the file is of such a kind.
    """
    bits = _first(tags.get(BITS_PER_SAMPLE))
    is_planar = tags.get(PLANAR_CONFIGURATION) == SEPARATE and tags.get(COMPRESSION) == UNCOMPRESSED
    kind = "16-bit channels in separate planes without compression" if is_planar and bits > 8 else ""
    kind = "signed 8-bit numbers" if _first(tags.get(SAMPLE_FORMAT)) == SIGNED and bits == 8 else kind
    if kind:
        raise ArgumentError(
            f"{name} holds {kind}, which Pillow misreads; read it with another package, for example tifffile, and call "
            "open_image(array, max_value=...) with the value of white"
        )


def _scale_transparent_colour(image: Image.Image, raw_mode: str) -> Image.Image:
    """Return the image with the transparent colour of its PNG file scaled to 8 bits, as its pixels are."""
    colour = image.info.get("transparency")
    step = next((step for mode, step in GREY_STEPS.items() if repr(mode) in raw_mode), None)
    if isinstance(colour, tuple) and ";16" in raw_mode:
        scaled: Any = tuple(value >> 8 for value in colour)  # of 16 bits, Pillow keeps the upper 8
    elif isinstance(colour, int) and step is not None:
        scaled = min(colour * step, 255)  # Pillow 12 gives 255 for the 1 of a file of one bit
    else:
        return image
    image = image.convert("L") if image.mode == "1" else image.copy()  # Pillow below 12 ignores a colour of mode "1"
    image.info["transparency"] = scaled
    return image


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what turns the image upright, or None. Pillow has turned a TIFF file already."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # Pillow raises many types for malformed EXIF data, which image viewers ignore
        return None
    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation or 1)


def _reduce(image: Image.Image, max_value: float | None, name: str) -> Image.Image:
    """Return an image of mode I, I;16 or F in 8 bits."""
    from PIL import Image

    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode == "I" and image.format in ("PNG", "PPM"):  # Pillow reads their 16 bits into 32
        values = values.astype(np.uint16)
    pixels = scale_to_bytes(values, max_value or _stated_white(tags), name)
    reduced = Image.fromarray(255 - pixels if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else pixels)
    transparent = image.info.get("transparency")
    if transparent is not None:
        reduced.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return reduced


def _stated_white(tags: Any) -> int | None:
    """Return the value of white that the tags of a TIFF file state, or None.

    MaxSampleValue counts only if it is the end of a range, such as 4095. Some programs write the largest value of the image.
    """
    bits, largest = (_first(tags.get(tag)) for tag in (BITS_PER_SAMPLE, MAX_SAMPLE_VALUE))
    if 8 < bits < 16:
        return int(2**bits - 1)
    is_end = largest > 255 and (largest + 1) & largest == 0
    return largest if is_end else None


def _first(value: Any) -> int:
    return int((value[0] if isinstance(value, tuple) else value) or 0)


def _check_high_bytes(image: Image.Image, max_value: float | None, name: str) -> None:
    """Check that the colours of an image of 16 bits per channel use the range: Pillow keeps the upper 8 bits only.

    Raises:
        ArgumentError: they do not, or `max_value` is another than 65535.
    """
    high = int(np.asarray(image)[..., : 4 if image.mode == "CMYK" else 3].max())
    if max_value not in (None, 65535) or (max_value is None and high < DARKEST_16_BIT >> 8):
        raise ArgumentError(
            f"{name} of mode {image.mode} has 16 bits per channel, of which Pillow reads the upper 8; these are at most "
            f"{high} of 255. Read it with another package, for example tifffile, and pass open_image(array, max_value=WHITE), "
            "or pass max_value=65535 if the image is meant to be dark"
        )
