"""Compare the images of a loader with the preprocessing that the model remembers."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..spec import DataConfig

SHARE = 0.1  # of the values that may lie outside: random erasing fills a part of an image with noise
BYTES = 50  # a normalisation with a wider range keeps pixels of about 0 to 255
END = 0.01  # tolerance for a minimum of -1 and a maximum of 1, which mean=std=0.5 gives
MARGIN = 0.05  # of the range, or of -1 and 0, for interpolation that overshoots
SPREAD = 0.5  # of normalised values in 0..1: less can be a picture with little contrast
SLACK = 0.1  # of the range, by which one resized float image may exceed it: bicubic interpolation overshoots


def describe_difference(images: Tensor, data: DataConfig, name: str, *, compare_sizes: bool) -> str | None:
    """Return how a batch (n, c, h, w) of the loader `name` differs from `data` in range, or in size; None if it does not.

    Values differ if more than `SHARE` of them lie outside what the normalisation can give, if all lie in 0..1 where it would
    give negative numbers too, if all lie in -1..1 where it would keep the range of bytes, or if they end at -1 and 1 where it
    would give a wider range.
    """
    if images.ndim != 4 or images.shape[1] != len(data.mean):
        return None
    differences = []
    height, width = images.shape[2:]
    if compare_sizes and (height, width) != data.input_size[1:]:
        sizes = f"{height} x {width} px", " x ".join(map(str, data.input_size[1:])) + " px"
        size = height if height == width else (height, width)
        differences.append(f"have {sizes[0]}, model.data says {sizes[1]}: call model.set_input_size({size}) before fit")
    low, high = _limits(images, data)
    margin = MARGIN * (high - low)
    outside = float(((images < low - margin) | (images > high + margin)).float().mean())
    smallest, largest = float(images.min()), float(images.max())
    is_raw = smallest >= 0 and largest <= 1 and float(low.max()) < -MARGIN
    is_scaled = smallest >= -1 and largest <= 1 and float((high - low).min()) > BYTES
    has_ends = abs(smallest + 1) < END and abs(largest - 1) < END
    is_half = has_ends and float(low.max()) < -1 - MARGIN and float(high.min()) > 1 + MARGIN
    if outside > SHARE or is_raw or is_scaled or is_half:
        limits = (smallest, largest), (float(low.min()), float(high.max()))
        given, expected = (f"{round(one, 2)} to {round(other, 2)}" for one, other in limits)
        differences.append(
            f"have values from {given}, the mean and std of model.data give {expected}: prepare them with iz.transforms(model) "
            "or set model.data to what prepares them, with dataclasses.replace(model.data, mean=..., std=...)"
        )
    if not differences:
        return None
    return f"predict and transforms prepare images as model.data says, but the images of {name} {'; they '.join(differences)}"


def check_range(image: Tensor, data: DataConfig, *, stacklevel: int) -> None:
    """Check that the values of a Tensor (c, h, w) are among those that the normalisation of `data` can give.

    Warn if they look like pixels that were not normalised.

    Raises:
        ArgumentError: a value lies outside the range by more than 10 % of it.
    """
    if len(data.size) != 2 or len(image) != len(data.mean) or not image.numel():
        return  # not an image, or one that the model refuses
    image = image.detach().float()
    low, high = _limits(image, data)
    slack = SLACK * (high - low)
    smallest, largest = float(image.min()), float(image.max())
    text = f"image: a Tensor with values from {smallest:.4g} to {largest:.4g}"
    expected = f"{float(low.min()):.4g} to {float(high.max()):.4g}; pass transforms(model)(image)"
    if not ((image >= low - slack) & (image <= high + slack)).all():  # nan is outside too
        raise ArgumentError(
            f"{text} is not normalised as model.data says, which gives {expected}, or pixels from 0 to 255 as uint8"
        )
    if 0 <= smallest <= largest - SPREAD <= 1 - SPREAD and float((low + slack).max()) < 0:
        warnings.warn(f"{text} looks as if it were not normalised; model.data gives {expected}", stacklevel=stacklevel + 1)


def _limits(images: Tensor, data: DataConfig) -> tuple[Tensor, Tensor]:
    """Return the values of black and of white, each (c, 1, 1)."""
    black, white = (torch.tensor(values, device=images.device)[:, None, None] for values in data.value_range)
    return black, white
