"""A convolution of an image's channels runs as one of more channels, some of them zeros."""

from functools import partial

import pytest
import torch
from convolutions import PACKED, WINOGRAD, conv, expected, maps, rectified
from helpers import distance

from inceptionzoo.inference.cpu._channel_padding import Widened, suits, widened
from inceptionzoo.inference.cpu._im2col import Direct, laid_out
from inceptionzoo.inference.cpu._winograd import Winograd, transformed


@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize(
    "options",
    [{"into": 3}, {"into": 1}, {"into": 6, "padding": 0}, {"into": 3, "kernel": 7, "stride": 2}, {"into": 3, "kernel": (1, 3)}],
    ids=str,
)
def test_widened(options, relu):
    made = conv(**options)
    wide, count = widened(made), rectified(made, relu)
    assert suits(made)
    assert not suits(wide)
    ways = {Direct: lambda _: Direct(wide, count, laid_out(wide))}
    if "stride" not in options:
        ways[Winograd] = partial(Winograd, wide, count, 4, transformed(wide, 4))
    for make in ways.values():
        way = Widened(made, make, (2, made.in_channels, 13, 17))
        for x in (maps(2, made.in_channels, 13, 17), maps(2, made.in_channels + 2, 13, 17)[:, 2:]):
            assert distance(way(x), expected(made, x, relu)) < WINOGRAD


def test_nan_does_not_stay_behind():
    """The zeros beside the channels are nobody's, in the same memory call after call."""
    made = conv(into=3)
    way = Widened(made, lambda _: Direct(widened(made), 0, laid_out(widened(made))), (1, 3, 9, 9))
    x = maps(1, 3, 9, 9)
    assert way(torch.full_like(x, float("nan"))).isnan().all()
    assert distance(way(x), expected(made, x, False)) < PACKED
