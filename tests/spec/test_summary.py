"""The printed table: with colour on a terminal, and without it elsewhere."""

import io
import re
import sys

import pytest
import torch

import inceptionzoo as iz
from inceptionzoo.spec._terminal import supports_colour

CODES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("WT_SESSION", "1")


def printed(monkeypatch, stream, name="inception_v2"):
    monkeypatch.setattr(sys, "stdout", stream)
    table = iz.summary(name)
    monkeypatch.undo()
    return stream.getvalue(), table


@pytest.mark.parametrize("name", ["inception_v2", "googlenet_paper", "vgg16", "xception"])
def test_colour_is_the_plain_table_with_codes(name, monkeypatch):
    shown, table = printed(monkeypatch, Terminal(), name)
    assert CODES.sub("", shown) == f"{table}\n" != shown
    assert not CODES.search(str(table))
    assert not [line for line in shown.splitlines() if line.count("\x1b[") % 2], "a colour is not ended on its line"


def test_what_is_highlighted(monkeypatch):
    shown, _ = printed(monkeypatch, Terminal())
    assert "\x1b[1minception3a\x1b[0m" in shown
    assert "\x1b[2m-----" in shown
    assert "\x1b[31mavg\x1b[0m \x1b[2m>\x1b[0m 32" in shown
    assert "\x1b[36mdepthwise\x1b[0m" in shown
    assert "\x1b[1;35m359.7M\x1b[0m" in shown  # the largest
    assert "\x1b[1m171.0M\x1b[0m" in shown  # at least a third of the largest
    assert " 119.2M\n" in shown  # at least a tenth
    assert "\x1b[2m34.0M\x1b[0m" in shown  # less


@pytest.mark.parametrize("name", ["inception_time", "googlenet_paper"])
def test_normalisations_have_one_colour(name, monkeypatch):
    shown, _ = printed(monkeypatch, Terminal(), name)
    word = "norm" if name == "inception_time" else "lrn"
    assert f"\x1b[32m{word}\x1b[0m" in shown
    assert f"\x1b[2m{word}\x1b[0m" not in shown


def test_a_file_gets_the_table_without_codes(monkeypatch):
    shown, table = printed(monkeypatch, io.StringIO())
    assert shown == f"{table}\n"
    lines = shown.splitlines()
    assert lines[:3] == ["inception_v2, input 224x224x3", lines[1], "-" * len(lines[1])]
    assert lines[4] == "pool1        3x3/2           56x56x64         max"


@pytest.mark.parametrize(
    ("stream", "environ", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (None, {}, False),
        (object(), {}, False),
    ],
)
def test_supports_colour(stream, environ, wanted, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert supports_colour(stream) is wanted


def test_a_lower_bound_of_a_cost_is_coloured_too(monkeypatch):
    net = iz.network(own=iz.Op(len, 4), conv=iz.Conv(3))
    shown, table = printed(monkeypatch, Terminal(), net)
    assert CODES.sub("", shown) == f"{table}\n"
    assert ">= 4,018" in str(table)


@pytest.mark.parametrize(("act", "shown"), [("silu", "silu"), (torch.nn.PReLU, "PReLU")])
def test_an_activation_is_printed_by_its_name(act, shown, capsys):
    net = iz.network(a=iz.Act(), b=iz.chain(iz.Conv(3), iz.Act()), style=iz.Style(act=act))
    rows = iz.summary(net).rows
    assert [row.branches for row in rows[:2]] == [shown, f"3 > {shown}"]
    assert "relu " not in capsys.readouterr().out


def test_the_kernel_of_a_chain_may_be_in_a_chain_inside_it():
    pair = iz.chain(iz.Conv(8, (1, 3, 3), (1, 2, 2)), iz.Conv(8, (3, 1, 1)))
    net = iz.network(a=iz.chain(iz.Conv(4), pair), b=iz.chain(iz.chain(iz.Act(), iz.Norm()), iz.Act()), spatial_dims=3)
    assert [row.patch for row in iz.summary(net, input_size=(3, 8, 16, 16)).rows] == ["1x3x3/1x2x2", "", "pool"]
    assert {row.name: row.patch for row in iz.summary("s3d").rows}["conv2"] == "1x3x3/1"


def test_an_encoder_has_a_table_and_a_drawing():
    encoder = iz.create_model("googlenet", features_only=True, out_indices=(1, 2), in_chans=1, device="meta")
    table = iz.summary(encoder)
    assert (table.title, table.rows[-2].name, table.input_size) == ("googlenet", "inception3b", (1, 224, 224))
    assert table.total.cost.params == sum(parameter.numel() for parameter in encoder.parameters())
    assert "features" in str(iz.draw(encoder))


def test_a_table_says_that_the_model_has_other_parts():
    model = iz.create_model("googlenet", num_classes=2, device="meta")
    model.features.conv1.register_forward_hook(lambda *_: None)
    iz.summary(model)
    model.head.fc = torch.nn.Sequential(torch.nn.Linear(1024, 512), torch.nn.Linear(512, 2))
    for show in (iz.summary, iz.draw):
        with pytest.warns(
            UserWarning, match="head.fc is of type Sequential, not Linear; shown is the network that was built"
        ) as seen:
            show(model)
        assert seen[0].filename == __file__
