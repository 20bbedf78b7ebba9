"""A convolution of few channels agrees with torch when it runs with additional zero channels."""

from functools import partial

import pytest
import torch
from convolutions import PACKED, WINOGRAD, conv, expected, maps, relu_channels
from helpers import distance

from inceptionzoo.kernels._channel_padding import ChannelPaddedConv, pad_channels, supports
from inceptionzoo.kernels._im2col import Im2colConv, packed_weight
from inceptionzoo.kernels._winograd import WinogradConv, transform_weight


@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize(
    "options",
    [{"into": 3}, {"into": 1}, {"into": 6, "padding": 0}, {"into": 3, "kernel": 7, "stride": 2}, {"into": 3, "kernel": (1, 3)}],
    ids=str,
)
def test_padded_convolution_agrees_with_torch(options, relu):
    layer = conv(**options)
    padded, count = pad_channels(layer), relu_channels(layer, relu)
    assert supports(layer)
    assert not supports(padded)
    makers = [lambda _: Im2colConv(padded, count, packed_weight(padded))]
    if "stride" not in options:
        makers.append(partial(WinogradConv, padded, count, 4, transform_weight(padded, 4)))
    for make_op in makers:
        op = ChannelPaddedConv(layer, make_op, (2, layer.in_channels, 13, 17))
        for x in (maps(2, layer.in_channels, 13, 17), maps(2, layer.in_channels + 2, 13, 17)[:, 2:]):
            assert distance(op(x), expected(layer, x, relu)) < WINOGRAD


def test_nan_does_not_reach_the_next_call():
    """All calls share the scratch memory of the padded input; its additional channels stay 0."""
    layer = conv(into=3)
    padded = pad_channels(layer)
    op = ChannelPaddedConv(layer, lambda _: Im2colConv(padded, 0, packed_weight(padded)), (1, 3, 9, 9))
    x = maps(1, 3, 9, 9)
    assert op(torch.full_like(x, float("nan"))).isnan().all()
    assert distance(op(x), expected(layer, x, False)) < PACKED
