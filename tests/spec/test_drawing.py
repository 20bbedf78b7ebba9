"""Drawings: their contents, no overlapping or clipped elements, hostile names, and current files in the docs."""

import functools
import itertools
import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from PIL import ImageFont

import inceptionzoo as iz
from inceptionzoo import Drawing, draw
from inceptionzoo.models.inception_time import module
from inceptionzoo.models.s3d import separable
from inceptionzoo.spec import make_network
from inceptionzoo.spec._network_cost import stage_costs
from inceptionzoo.spec.drawing import _elements as elements
from inceptionzoo.spec.drawing import _svg as svg
from inceptionzoo.spec.drawing._labels import format_count
from inceptionzoo.spec.drawing._text import ROLES
from inceptionzoo.zoo._registry import find_entry

DOCS = Path(__file__).parents[2] / "docs"
NS = "{http://www.w3.org/2000/svg}"
HOSTILE = "<b>\"&'\x00\u202e\n]]>é"
DEEP = iz.concat(
    a=iz.Conv(8),
    b=iz.chain(
        iz.Residual(iz.concat(x=iz.Conv(4), y=iz.Residual(iz.Op(len, 8, stride=1), project=False, scale=0.3)), drop_path=0.1),
        iz.Pool("avg", 3),
        iz.Residual(iz.Depthwise(3, multiplier=2), project=False, shortcut=iz.Conv(16, act=False)),
    ),
)
EVERYTHING = iz.network(
    {HOSTILE: iz.Conv(8, 3, 2, "valid", groups=1), "W" * 60: DEEP, "日本語": iz.Op(lambda _: None, 16, stride=2)},
    {f"{HOSTILE}{number}": iz.Residual(iz.Conv(16, 3)) for number in range(3)},
    dilated=iz.Conv(32, (1, 5), dilation=2, norm=False),
    pooled=iz.Pool("max", 2, 2, ceil=True),
    chain=iz.chain(iz.Norm(), iz.Act(), iz.Conv(16, 3, groups=4, padding="same"), iz.Conv(5, act=False)),
    aux=(iz.Aux("pooled", iz.chain(iz.Conv(8), DEEP, iz.Pool("adaptive_avg", 2)), iz.Head("mlp", hidden=(3,), size=2)),),
    head=iz.Head("conv", hidden=(64, 32), size=3, drop_rate=0.3),
    style=iz.Style(norm=lambda _: None, act="silu"),
)


def parsed(drawing: Drawing) -> ElementTree.Element:
    return ElementTree.fromstring(drawing.svg)


def boxes(drawing: Drawing, *kinds: str) -> list[str]:
    """Return the texts of the boxes of these kinds."""
    groups = [group for group in parsed(drawing).iter(f"{NS}g") if group.get("class") in kinds]
    said = ([word for text in group.iter(f"{NS}text") for word in "".join(text.itertext()).split()] for group in groups)
    return [" ".join(words) for words in said]


@functools.cache
def font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)  # a str for old Pillow


Rect = tuple[float, float, float, float]


def rect(element: ElementTree.Element) -> Rect:
    x, y, width, height = (float(element.get(key)) for key in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def text_rect(text: ElementTree.Element) -> Rect:
    """Return the rectangle of a text in DejaVu Sans, the widest of the common fonts."""
    role, *anchor = text.get("class").split()
    width = font(*ROLES[role]).getlength(text.text or "")
    for part in text:
        width += font(*ROLES[part.get("class")]).getlength(part.text) + font(12, True).getlength(" ")
    x, y, size = float(text.get("x")), float(text.get("y")), ROLES[role][0]
    left = x - width * {"middle": 0.5, "end": 1.0}.get("".join(anchor), 0.0)
    return left, y - 0.78 * size, left + width, y + 0.24 * size


def meet(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def within(a: Rect, b: Rect) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]


def check_geometry(drawing: Drawing) -> None:
    root = parsed(drawing)
    page = tuple(map(float, root.get("viewBox").split()))
    groups = list(root.iter(f"{NS}g"))
    frames = [rect(group.find(f"{NS}rect")) for group in groups]
    for group, frame in zip(groups, frames, strict=True):
        for text in group.iter(f"{NS}text"):
            assert within(text_rect(text), frame), f"{list(text.itertext())} is wider than its box"
    texts = [(list(text.itertext()), text_rect(text)) for text in root.iter(f"{NS}text")]
    free = [(list(text.itertext()), text_rect(text)) for text in root.findall(f"{NS}text")]
    for (words, one), (others, other) in itertools.combinations(texts, 2):
        assert not meet(one, other), f"{words} and {others} overlap"
    for words, one in free:
        assert not any(meet(one, frame) for frame in frames), f"{words} lies on a box"
    for one, other in itertools.combinations(frames, 2):
        wider = one[0] - 8, one[1], one[2] + 8, one[3]
        assert not meet(wider, other), f"two boxes overlap, or nearly: {one}, {other}"
    for shadow in (rect(bar) for bar in root.findall(f"{NS}rect") if bar.get("class") == "shadow"):
        assert not any(meet(shadow, one) for _, one in free)
    bars = [rect(bar) for bar in root.findall(f"{NS}rect")]
    paths = " ".join(path.get("d") for path in root.iter(f"{NS}path"))
    points = [(float(x), float(y)) for x, y in re.findall(r"(\d+) (\d+)", paths)]
    assert bars[0] == page
    assert points or len(frames) < 2
    cards = [rect(bar) for bar in root.findall(f"{NS}rect") if bar.get("class") in ("card", "band")]
    for place in (*frames, *bars, *(one for _, one in texts), *((x, y, x, y) for x, y in points)):
        assert within(place, page), f"{place} lies outside {page}"
        across = [card for card in cards if meet(place, card) and not within(place, card) and not within(card, place)]
        assert not across or (place[0] == place[2]), f"{place} crosses the edge of {across}"


@pytest.mark.parametrize("detail", ["forms", "full"])
@pytest.mark.parametrize("name", iz.list_models())
def test_every_model(name, detail):
    drawing = draw(name, detail=detail)
    root = parsed(drawing)
    words = [text for text in root.itertext() if text.strip()]
    joined = re.split(r"[ ,]+", " ".join(words))
    info, entry = iz.model_info(name), find_entry(name)
    network = make_network(entry, {})
    for stage, _, cost in stage_costs(network, iz.Shape(*info.input_size)):
        assert stage in joined
        assert str(cost.shape) in words
    assert {aux.tap for aux in network.aux} <= set(joined)
    assert boxes(drawing, "dense").count("aux") == len(network.aux)
    assert f"{info.num_classes}" in words
    check_geometry(drawing)


def test_unusual_networks_are_drawn_without_overlap():
    for detail in ("forms", "full"):
        check_geometry(draw(EVERYTHING, input_size=(3, 64, 64), detail=detail))
    check_geometry(draw(DEEP))
    check_geometry(draw(DEEP, input_size=(8, 28, 28)))
    check_geometry(draw(iz.network(only=iz.Conv(3))))
    check_geometry(draw(iz.network({f"stage{i}": iz.inception(*range(i, i + 6)) for i in range(1, 30)}), detail="full"))


CONVOLUTIONS = {  # numbers of boxes: (1x1, k x k, 1 x n, depthwise), with each form of block once
    "vgg16": (0, 13, 0, 0),
    "googlenet_paper": (1 + 4 + 1, 1 + 1 + 2, 0, 0),
    "inception_v2": (2 + 4 + 2 + 4, 1 + 3 + 3 + 3, 0, 1),
    "xception": (2 + 3 + 3 + 3, 2, 0, 2 + 2 + 2 + 3),
    "inception_v4": (0 + 2 + 0 + 4 + 1 + 4 + 2 + 4, 3 + 1 + 2 + 1 + 3 + 3 + 0 + 2, 0 + 0 + 2 + 0 + 0 + 0 + 6 + 2 + 6, 0),
    "inception_resnet_v2": (2 + 4 + 4 + 1 + 3 + 3 + 3 + 3, 4 + 3 + 3 + 3 + 4, 2 + 2 + 2, 0),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_number_of_boxes_per_kind_of_convolution(name):
    drawing = draw(name)
    assert tuple(len(boxes(drawing, kind)) for kind in ("conv1", "convk", "convf", "depthwise")) == CONVOLUTIONS[name]


def test_a_form_is_drawn_once_with_a_table_of_widths():
    forms, full = draw("googlenet_paper"), draw("googlenet_paper", detail="full")
    assert boxes(forms, "join") == ["concat 256-1024"]
    assert len(boxes(full, "join")) == 8  # 4e and 5a are the same
    assert "96 > 208" in list(parsed(forms).itertext())
    assert "384-512" not in forms.svg
    assert boxes(full, "convk")[:2] == ["7x7 /2 64", "3x3 192"]
    assert {"3x3 128", "5x5 32", "3x3 384"} <= set(boxes(full, "convk"))
    assert boxes(full, "block") == [f"block {letter}" for letter in "ABCDEFGGH"]


def test_equal_consecutive_blocks_are_drawn_once():
    assert boxes(draw("inception_resnet_v2"), "block") == [
        "block A", "block B x 10", "block C", "block D x 20", "block E", "block F x 9", "block G",
    ]  # fmt: skip
    assert "block35_1-10" in draw("inception_resnet_v2").svg
    dropped = make_network(find_entry("inception_resnet_v2"), {"drop_path_rate": 0.2})
    said = boxes(draw(dropped, input_size=(3, 299, 299)), "join")
    assert "add body x 0.17, drop path 0-0.046, then ReLU" in said


def test_texts_of_boxes():
    net = iz.network(
        a=iz.Conv(8, 3, 2, "valid"), b=iz.Conv(8, 1, 2, "valid"), c=iz.Conv(8, 3, padding="same"),
        d=iz.Conv(8, 4, padding="same"), e=iz.Conv(8, (7, 1), groups=2, act=False), f=iz.Depthwise(5, 2, multiplier=3),
        g=iz.Pool("max", 2, 2, "valid"),
        h=iz.Pool("adaptive_avg", (2, 3)), i=iz.Norm("lrn"), j=iz.Norm(), k=iz.Act(), l=iz.Op(len, 4, stride=2),
        m=iz.Op(lambda _: None, 5), n=iz.Conv(6, 3, dilation=3, norm=False),
    )  # fmt: skip
    said = boxes(draw(net), *svg.BOXES)
    assert said[:14] == [
        "3x3 /2 8, valid", "1x1 /2 8", "3x3 8", "4x4 8, same", "7x1 8, groups 2, linear", "depthwise 5x5 /2 width x 3",
        "max 2x2 /2", "avg to 2x3", "local response norm", "batch norm", "ReLU", "len /2 4", "op 5",
        "3x3 6, dilation 3, no norm",
    ]  # fmt: skip
    said = boxes(draw(DEEP, input_size=(8, 28, 28)), "join", "conv1", "shape", "op")
    joints = {"add body x 0.3, then ReLU", "add drop path 0.1, then ReLU", "concat 12", "concat 24"}
    assert joints | {"1x1 8, linear"} <= set(said)
    assert (said[0], said[-1]) == ("28x28x8", "28x28x24")
    assert "concat 256" in boxes(draw(iz.inception(64, 96, 128, 16, 32, 32)), "join")
    assert boxes(draw(iz.concat(a=iz.Conv(1), b=iz.Pool("max"))), "join", "shape") == ["input", "concat", "output"]


def test_heads():
    said = functools.partial(boxes, draw("vgg16"))
    assert said("dense", "act") == ["dense 4096", "dropout 0.5", "dense 4096", "dropout 0.5", "linear 1000"]
    assert "avg to 7x7" not in said("pool")  # the map already has this size, as in the paper
    assert "avg to 7x7" in boxes(draw("vgg16", input_size=(3, 256, 256)), "pool")
    assert boxes(draw(EVERYTHING, input_size=(3, 64, 64)), "convk", "pool", "act")[-4:] != []
    grey = iz.create_model("googlenet", num_classes=2, in_chans=1, global_pool="max", drop_rate=0.0, device="meta")
    assert "global max" in boxes(draw(grey), "pool")
    assert "224x224x1 image to 2 classes" in draw(grey).svg
    features = iz.create_model("googlenet", num_classes=0, global_pool="", device="meta")
    assert "224x224x3 image to features" in draw(features).svg
    assert "global" not in draw(features).svg
    embedding = boxes(draw("inception_resnet_v1"), "dense", "norm")
    assert embedding == ["linear 512", "batch norm", "linear 1000"]


def test_hostile_names_are_escaped():
    drawing = draw(EVERYTHING, input_size=(3, 64, 64))
    seen = "".join(parsed(drawing).itertext())
    assert "<b>\"&'\ufffd\u202e ]]>é" in seen
    assert "日本語" in seen
    assert not list(parsed(drawing).iter(f"{NS}b"))
    assert ">= " in seen
    assert "at least" in parsed(drawing).get("aria-label")
    said = "<&\"'\x1b>"
    one = svg.to_svg(elements.box("op", said, said, hint=said), said, said)
    seen = [ElementTree.fromstring(one).get("aria-label"), *(text for text in ElementTree.fromstring(one).itertext())]
    assert [text for text in seen if "<" in text] == ["<&\"'\ufffd>"] * 5


def test_styles_do_not_affect_the_embedding_page():
    drawing = draw("inception_v3")
    root = parsed(drawing)
    assert (root.get("role"), root.find(f"{NS}title").text) == ("img", "inception_v3")
    assert root.get("aria-label").startswith("inception_v3: 299x299x3 image to 1000 classes, 48 layers deep")
    assert not [element for element in root.iter() if element.get("id") or element.get("style")]
    style = root.find(f"{NS}style").text
    inner = re.sub(r"@media\(prefers-color-scheme:dark\)\{(.*)\}$", r"\1", style)
    assert inner != style
    selectors = [one for rule in re.findall(r"([^{}]+)\{", inner) for one in rule.split(",")]
    assert all(one == f".{svg.ROOT}" or one.startswith(f".{svg.ROOT} ") for one in selectors)
    used = {name for element in root.iter() for name in (element.get("class") or "").split()} - {svg.ROOT}
    known = {name for one in selectors for name in re.findall(r"\.([a-z0-9]+)", one.removeprefix(f".{svg.ROOT}"))}
    assert used <= known


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [0, 1], ids=["light", "dark"])
def test_text_contrasts_with_its_background(dark):
    behind = [colours[2 * dark] for colours in (*svg.BOXES.values(), *(svg.BARS[kind] for kind in ("page", "card", "band")))]
    for ink, ground in itertools.product((svg.INK[dark], svg.FAINT[dark]), behind):
        low, high = sorted(map(luminance, (ink, ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def test_drawing_is_returned_and_written(tmp_path):
    path = tmp_path / "net.svg"
    drawing = draw("googlenet", path)
    assert path.read_text() == str(drawing) == drawing._repr_svg_() == drawing.svg == draw("googlenet").svg
    assert re.fullmatch(r"<Drawing of googlenet: \d+,\d+ characters of SVG>", repr(drawing))
    drawing.save(str(tmp_path / "again.SVG"))
    assert (tmp_path / "again.SVG").read_text() == drawing.svg


BAD = [
    (dict(model="googlnet"), iz.UnknownModelError, "did you mean 'googlenet'"),
    (dict(model=7), iz.ArgumentError, "model of type int: draw takes a name, a model, a network or a layer"),
    (dict(detail="all"), iz.ArgumentError, "detail='all' must be one of 'forms', 'full'"),
    (dict(input_size=(3, 224)), iz.ArgumentError, "must be (channels, height, width)"),
    (dict(model=iz.Conv(3), input_size=(3, 0, 4)), iz.ArgumentError, "has 0, which must be an int from 1"),
    (dict(model=iz.Conv(3, groups=3), input_size=(4, 8, 8)), iz.SpecError, "groups must divide the input's 4 channels"),
    (dict(input_size=(3, 4, 4)), iz.InputError, "too small"),
    (dict(path="net.png"), iz.ArgumentError, "path='net.png' must end in .svg, the only format that is written"),
    (dict(path="net.svg.gz", model="googlnet"), iz.ArgumentError, "path='net.svg.gz' must end in .svg"),
    (dict(path=7), iz.ArgumentError, "path=7 must be a path"),
]


@pytest.mark.parametrize(("wrong", "kind", "said"), BAD, ids=lambda value: str(value)[:40])
def test_invalid_arguments_are_refused(wrong, kind, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=re.escape(said)):
        draw(**{"model": "googlenet_paper", "path": "net.svg"} | wrong)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        draw("vgg11", tmp_path / "nowhere" / "net.svg")


def test_the_drawings_of_the_docs_are_current():
    """`docs/drawings.py` does not change the files, and the page shows each of them."""
    script = runpy.run_path(str(DOCS / "drawings.py"))
    files = {path.name: path.read_text() for path in (DOCS / "drawings").iterdir()}
    assert files == script["drawings"]()
    page = (DOCS / "drawings.md").read_text()
    assert sorted(re.findall(r"!\[(\w+)\]\(drawings/\1\.svg\)", page)) == iz.list_models()


def test_chains_that_differ_in_widths_have_a_table_of_widths():
    def pair(a, b, c):
        return iz.chain(iz.concat(x=iz.Conv(a), y=iz.Conv(b, 3)), iz.Conv(c))

    texts = list(parsed(draw(iz.network(one=pair(8, 16, 24), two=pair(32, 40, 48)))).itertext())
    assert texts[texts.index("2 stages, their widths below") :].count("8 | 16 > 24") == 1
    assert "32 | 40 > 48" in texts


def test_blocks_for_signals_and_videos():
    for options in ({}, {"input_size": (3, 16, 112, 112)}):
        assert "1x3x3" in str(draw(separable(64, 3), **options))
    signal = str(draw(module(), input_size=(1, 128)))
    assert "40x40" not in signal
    assert ">40<" in signal


def test_counts_have_three_figures():
    values = 999, 999_499, 999_999, 9_996_000, 12_345
    assert list(map(format_count, values)) == ["999", "999K", "1.00M", "10.0M", "12.3K"]
