"""A convolution of an image's channels runs as one of more channels, some of them zeros."""

from functools import partial

import pytest
import torch
from convolutions import PACKED, WINOGRAD, conv, expected, maps, rectified
from helpers import distance

from inceptionzoo.inference.cpu._channel_padding import ChannelPaddedConv, pad_channels, supports
from inceptionzoo.inference.cpu._im2col import Im2colConv, packed_weight
from inceptionzoo.inference.cpu._winograd import WinogradConv, transform_weight


@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize(
    "options",
    [{"into": 3}, {"into": 1}, {"into": 6, "padding": 0}, {"into": 3, "kernel": 7, "stride": 2}, {"into": 3, "kernel": (1, 3)}],
    ids=str,
)
def test_widened(options, relu):
    made = conv(**options)
    wide, count = pad_channels(made), rectified(made, relu)
    assert supports(made)
    assert not supports(wide)
    ways = {Im2colConv: lambda _: Im2colConv(wide, count, packed_weight(wide))}
    if "stride" not in options:
        ways[WinogradConv] = partial(WinogradConv, wide, count, 4, transform_weight(wide, 4))
    for make in ways.values():
        way = ChannelPaddedConv(made, make, (2, made.in_channels, 13, 17))
        for x in (maps(2, made.in_channels, 13, 17), maps(2, made.in_channels + 2, 13, 17)[:, 2:]):
            assert distance(way(x), expected(made, x, relu)) < WINOGRAD


def test_nan_does_not_stay_behind():
    """The zeros beside the channels are nobody's, in the same memory call after call."""
    made = conv(into=3)
    way = ChannelPaddedConv(made, lambda _: Im2colConv(pad_channels(made), 0, packed_weight(pad_channels(made))), (1, 3, 9, 9))
    x = maps(1, 3, 9, 9)
    assert way(torch.full_like(x, float("nan"))).isnan().all()
    assert distance(way(x), expected(made, x, False)) < PACKED
