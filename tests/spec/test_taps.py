"""The names of feature maps, and which stages have a map before an activation."""

import pytest
from torch import nn

import inceptionzoo as iz

STAGES = dict(
    conv=iz.Conv(4, 3),
    linear=iz.Conv(4, 3, act=False),
    pool=iz.Pool("max", 2, 2),
    norm=iz.Norm("lrn"),
    block=iz.inception(2, 2, 2, 2, 2, 2),
    reduction=iz.concat(conv=iz.Conv(4, 3), pool=iz.Pool("max", 3)),
    pools=iz.concat(max=iz.Pool("max", 3), avg=iz.Pool("avg", 3)),
    residual=iz.Residual(iz.Conv(4, 3)),
    linear_residual=iz.Residual(iz.Conv(4, 3), act=False),
    separable=iz.chain(iz.Depthwise(3), iz.Conv(4)),
    activated=iz.chain(iz.Conv(4, act=False), iz.Act()),
    mixed=iz.concat(conv=iz.Conv(4), act=iz.Act()),
    own=iz.Op(lambda channels: nn.Conv2d(channels, 4, 1), 4),
)
HAVE_ONE = {"conv", "block", "reduction", "residual", "separable"}


@pytest.mark.parametrize("name", STAGES)
def test_stages_with_a_map_before_the_activation(name):
    model = iz.build(iz.network(**STAGES))
    if name in HAVE_ONE:
        assert model.tap_names([f"{name}:pre", name]) == [f"{name}:pre", name]
        return
    with pytest.raises(iz.ArgumentError) as error:
        model.tap_names([f"{name}:pre"], argument="out_indices")
    assert f"out_indices: stage {name!r} has no map before its activation: it ends in " in str(error.value)
    assert str(error.value).endswith(f"; use {name!r}")


def test_the_reason_names_the_layer():
    model = iz.build(iz.network(**STAGES))
    for name, kind in {"pool": "Pool", "activated": "Act", "mixed": "Act", "own": "Op", "linear_residual": "Residual"}.items():
        with pytest.raises(iz.ArgumentError, match=f"it ends in {kind}, not in a convolution with an activation"):
            model.tap_names([f"{name}:pre"])


def test_order_and_unknown_names():
    model = iz.build(iz.network(**STAGES))
    assert model.tap_names(["residual", "conv", "residual:pre", "conv:pre", "conv"]) == [
        "conv:pre", "conv", "residual:pre", "residual",
    ]  # fmt: skip
    with pytest.raises(iz.ArgumentError, match="unknown stage 'konv'; did you mean 'conv'"):
        model.tap_names(["konv:pre"])
    with pytest.raises(iz.ArgumentError, match="unknown stage 'conv:post'"):
        model.tap_names(["conv:post"])
    with pytest.raises(iz.SpecError, match="the name of stage 'conv:pre' must not end in ':pre'"):
        iz.network(**{"conv:pre": iz.Conv(4)})
