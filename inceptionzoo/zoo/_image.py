"""Open an image as an image viewer shows it."""

from __future__ import annotations

import inspect
import os
from io import BytesIO, TextIOBase
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, strided

from ..errors import ArgumentError, check_choice, check_number
from ._decode import MODES, convert_mode, decode
from ._image_errors import check_image_path, errors_that_name
from ._pixels import scale_to_bytes

if TYPE_CHECKING:
    from PIL import Image

SOURCES = "a path, bytes, a binary file, a PIL image, a NumPy array (h, w), (h, w, 3) or (h, w, 4), or a Tensor (c, h, w)"


def open_image(source: Any, *, channels: int = 3, background: str = "white", max_value: float | None = None) -> Image.Image:
    """Return an image as an image viewer shows it: a PIL image of mode "L", "RGB" or "RGBA" for 1, 3 or 4 `channels`.

    Use it as the loader of a data set, so that training sees the same pixels as `predict`:
    `ImageFolder(folder, iz.transforms(model), loader=iz.open_image)`. It can be pickled, also in a `functools.partial`.

    - `source` is a path, bytes, a binary file, a PIL image, a NumPy array (h, w), (h, w, 3) or (h, w, 4), or a Tensor
      (c, h, w). Arrays are in the order RGB. Of a file with several frames or pages, the first is read.
    - The image is turned as its EXIF orientation says.
    - Transparent images are composed over `background`, a colour that Pillow knows, such as "black" or "#7c7468". With 4
      channels the alpha channel is kept, and the hidden colour of transparent pixels is replaced by black.
    - Palettes and the modes CMYK, YCbCr, LAB and HSV are converted to RGB, without their colour profile.
    - Images of more than 8 bits are scaled from 0..`max_value` to 8 bits. By default `max_value` is 65535 for 16 bits, 1 for
      floating point, and what a TIFF file states for 12 bits. `max_value` has no effect on 8-bit images.

    Raises:
        ArgumentError: `source` has the wrong type, shape or dtype, or the pixels do not say which value is white: 32-bit
            integers, values above white, or a 16-bit image without a value above 16383, which probably has fewer bits.
        ImageError: the file is not an image, or is damaged. The message names the file.
        OSError: the file cannot be opened.
    """
    from PIL import Image

    check_choice("channels", channels, MODES)
    _check_background(background)
    if max_value is not None:
        check_number("max_value", max_value)
        if max_value == 0:
            raise ArgumentError("max_value=0 must be the value of white, above 0")
    if isinstance(source, Tensor | np.ndarray):
        return convert_mode(_from_array(source, max_value), channels, background)
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or "image"
        if getattr(source, "tile", None) and _is_closed(getattr(source, "fp", None)):
            raise ArgumentError(f"{name}: the image is closed before it was read; use it inside its `with`, or pass its path")
        with errors_that_name(name):
            return decode(source, channels, background, max_value, name)
    name, file = _as_file(source)
    with errors_that_name(name, file), Image.open(file) as image:
        return decode(image, channels, background, max_value, name)


def _check_background(background: str) -> None:
    from PIL import ImageColor

    try:
        ImageColor.getrgb(background)
    except (ValueError, AttributeError, TypeError) as error:
        hint = "a colour that Pillow knows, for example 'white' or '#7c7468'"
        raise ArgumentError(f"background={background!r} must be {hint}") from error


def _is_closed(file: Any) -> bool:
    return file is None or bool(getattr(file, "closed", False))


def _as_file(source: Any) -> tuple[str, Any]:
    """Return a name for error messages, and what `Image.open` takes.

    Raises:
        ArgumentError: `source` is none of these, or a folder, a URL, a closed file or one that does not return bytes.
    """
    if isinstance(source, str | os.PathLike):
        return str(source), check_image_path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"image of {len(source):,} bytes", BytesIO(source)
    if not hasattr(source, "read"):
        raise ArgumentError(
            f"image of type {type(source).__name__} must be {SOURCES}; of several images, pass a list to predict"
        )
    name = str(getattr(source, "name", "image file"))
    if isinstance(source, TextIOBase):
        raise ArgumentError(f"{name} is open as text; open it with open(path, 'rb')")
    if getattr(source, "closed", False):
        raise ArgumentError(f"{name} is a closed file; use it inside its `with`, or pass its path")
    if inspect.iscoroutinefunction(source.read):
        raise ArgumentError(
            f"{name} of type {type(source).__name__} is read asynchronously; pass its bytes, `await file.read()`"
        )
    return name, source


def _from_array(source: Tensor | np.ndarray[Any, Any], max_value: float | None) -> Image.Image:
    from PIL import Image

    shape = tuple(source.shape)
    if isinstance(source, Tensor):
        is_valid, layout = len(shape) == 3 and shape[0] in MODES, "(c, h, w) with 1, 3 or 4 channels"
    else:
        is_valid = len(shape) == 2 or (len(shape) == 3 and shape[2] in MODES)
        layout = "(h, w), (h, w, 3) or (h, w, 4)"
    if not is_valid or 0 in shape:
        kind = type(source).__name__
        raise ArgumentError(f"image of shape {shape} and type {kind} must have shape {layout}{_suggest_layout(source)}")
    if isinstance(source, Tensor):
        check_dense(source)
        tensor = source.detach().cpu().permute(1, 2, 0)
        values = (tensor.float() if tensor.is_floating_point() else tensor).numpy()  # NumPy has no bfloat16
    else:
        values = source
    pixels = scale_to_bytes(values, max_value, f"image {type(source).__name__} of shape {shape}")
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


def check_dense(image: Tensor) -> None:
    """Check that a Tensor holds its values as they are.

    Raises:
        ArgumentError: it is on the meta device, sparse or complex.
    """
    if image.is_meta or image.layout is not strided or image.is_complex():
        kind = f"{image.dtype} and layout {image.layout} on device {image.device}"
        raise ArgumentError(f"image Tensor of {kind} must be a dense Tensor of real numbers; see torch.Tensor.to_dense")


def _suggest_layout(source: Tensor | np.ndarray[Any, Any]) -> str:
    """Return how to pass an image whose channels are on the other side, or several images."""
    shape = tuple(source.shape)
    if len(shape) < 3:
        return "; pass image[None]" if len(shape) == 2 and isinstance(source, Tensor) else ""
    if len(shape) == 3 and isinstance(source, Tensor) and shape[2] in MODES:
        return "; pass image.permute(2, 0, 1)"
    if len(shape) == 3 and not isinstance(source, Tensor) and shape[0] in MODES:
        return "; pass image.transpose(1, 2, 0)"
    return "; of several, pass a list to predict"
