"""The explorer page in a browser."""

import json

import pytest
from browsing import ROOT, contrast, emulate, find, text_and_background, wait

pytestmark = pytest.mark.site

MODELS = json.loads((ROOT / "docs" / "explorer" / "models.json").read_text())
NAMES = [model["name"] for model in MODELS]
OVERLAPS = """
const boxes = [...document.querySelectorAll("#explorer-plot .label")].map((node) => [node.textContent, node.getBBox()]);
const apart = (a, b) => a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
const dots = [...document.querySelectorAll("#explorer-plot .dot")].map((node) => ["a dot", node.getBBox()]);
return boxes.flatMap(([name, box], index) =>
  [...boxes.slice(index + 1), ...dots].filter(([, other]) => !apart(box, other)).map(([other]) => [name, other]));
"""

COVERED = """
return [...document.querySelectorAll("#explorer-plot .dot")].filter((node) => {
  node.scrollIntoView({block: "center"});
  const {x, y, width, height} = node.getBoundingClientRect();
  return document.elementFromPoint(x + width / 2, y + height / 2) !== node;
}).map((node) => node.getAttribute("aria-label"));
"""  # dots whose centre lies under another element

FOCUS_IS_VISIBLE = """
const {x, y, width, height} = document.activeElement.getBoundingClientRect();
return document.elementFromPoint(x + width / 2, y + height / 2) === document.activeElement;
"""  # the headings of the table are sticky


@pytest.fixture
def explorer(browser, base):
    """A function that opens the page with a hash and waits for its table."""

    def open_page(state=""):
        browser.get("about:blank")  # a hash alone would not load the page again
        browser.get(f"{base}explorer/{state}")
        wait(browser, lambda: find(browser, "#explorer-table tbody tr"))
        return browser

    return open_page


def names(browser):
    return [row.text for row in find(browser, "#explorer-table tbody th") if row.is_displayed()]


def chosen(browser):
    """Return the models that are shown; their facts, drawings and stages agree."""
    facts = [head.text for head in find(browser, "#explorer-chosen > .explorer-scroll thead th")]
    drawings = [picture.get_attribute("alt").partition(",")[0] for picture in find(browser, "#explorer-chosen img")]
    stages = [caption.text for caption in find(browser, "#explorer-chosen caption")]
    assert facts == drawings == stages
    return facts


def state(browser):
    return browser.execute_script("return location.hash")


def checkbox(browser, name):
    return find(browser, f"[aria-label='compare {name}']")[0]


def test_it_shows_every_model(explorer):
    browser = explorer()
    assert names(browser) == NAMES
    assert chosen(browser) == []
    assert state(browser) == ""


def test_a_heading_sorts(explorer):
    browser = explorer()
    by_macs = [model["name"] for model in sorted(MODELS, key=lambda model: model["macs"])]
    head = find(browser, "[data-key=macs]")[0]
    head.find_element("css selector", "button").click()
    assert names(browser) == by_macs
    assert head.get_attribute("aria-sort") == "ascending"
    head.find_element("css selector", "button").send_keys("\ue007")  # Enter
    down = [model["name"] for model in sorted(MODELS, key=lambda model: -model["macs"])]
    assert names(browser) == down
    assert head.get_attribute("aria-sort") == "descending"
    assert state(browser) == "#sort=-macs"


def test_models_without_an_accuracy_come_last(explorer):
    with_accuracy = {model["name"] for model in MODELS if any(row["top1"] for row in model["weights"])}
    for order in ("top1", "-top1"):
        assert set(names(explorer(f"#sort={order}"))[: len(with_accuracy)]) == with_accuracy


def test_the_filter_keeps_matching_models(explorer):
    browser = explorer()
    find(browser, "#explorer-filter")[0].send_keys("Inception-v4")
    assert names(browser) == ["inception_v4"]
    assert state(browser) == "#filter=Inception-v4"
    find(browser, "#explorer-clear")[0].click()
    assert names(browser) == NAMES


def test_two_are_shown_side_by_side(explorer):
    browser = explorer()
    checkbox(browser, "googlenet").click()
    checkbox(browser, "vgg16_bn").send_keys(" ")
    assert chosen(browser) == ["googlenet", "vgg16_bn"]
    assert state(browser) == "#models=googlenet,vgg16_bn"
    text = find(browser, "#explorer-chosen")[0].text
    for word in ("6,624,904", "138,365,992", "tv_in1k", "inception5b", "conv5_3", "Going Deeper", "1/32: 1024"):
        assert word in text
    first, second = (picture.location for picture in find(browser, "#explorer-chosen img"))
    assert first["y"] == second["y"]
    assert first["x"] < second["x"]
    checkbox(browser, "googlenet").send_keys(" ")
    assert chosen(browser) == ["vgg16_bn"]


def test_the_headings_do_not_cover_a_focused_checkbox(explorer):
    browser = explorer()
    for script in (
        "document.querySelector('#explorer-table').scrollTop = arguments[0].closest('tr').offsetTop",
        "arguments[0].focus()",
    ):
        browser.execute_script(script, checkbox(browser, "googlenet_cifar"))
    assert browser.execute_script(FOCUS_IS_VISIBLE)


def test_at_most_three_can_be_chosen(explorer):
    browser = explorer("#models=googlenet,xception,vgg11,vgg13")
    assert chosen(browser) == ["googlenet", "xception", "vgg11"]
    assert not checkbox(browser, "vgg13").is_enabled()
    assert checkbox(browser, "xception").is_enabled()
    wait(browser, lambda: find(browser, "[aria-label^='vgg19.tv_in1k']"))[0].click()
    assert chosen(browser) == ["googlenet", "xception", "vgg11"]


def test_the_address_restores_the_state(explorer):
    browser = explorer("#models=inception_v3,googlenet&sort=-params&filter=inception")
    assert chosen(browser) == ["inception_v3", "googlenet"]
    assert names(browser) == [
        model["name"]
        for model in sorted(MODELS, key=lambda model: -model["params"])
        if "inception" in f"{model['name']} {model['title']} {model['about']}".lower()
    ]
    browser.execute_script("location.hash = '#models=vgg19,nosuch'")
    wait(browser, lambda: chosen(browser) == ["vgg19"])
    assert "no model nosuch" in find(browser, "#explorer-state")[0].text


@pytest.mark.parametrize("width", [1280, 390])
def test_labels_of_the_plot_do_not_overlap(width, explorer, browser):
    emulate(browser, width=width)
    browser = explorer()
    dots = wait(browser, lambda: find(browser, "#explorer-plot .dot"))
    rows = [(model["name"], row) for model in MODELS for row in model["weights"] if row["top1"]]
    assert len(dots) == len(rows)
    assert {label.text for label in find(browser, "#explorer-plot .label")} == {name for name, _ in rows}
    assert browser.execute_script(OVERLAPS) == []
    assert browser.execute_script(COVERED) == []


def test_a_dot_chooses_its_model(explorer):
    browser = explorer()
    dot = wait(browser, lambda: find(browser, "[aria-label^='xception.tf_in1k']"))[0]
    dot.send_keys(" ")
    assert chosen(browser) == ["xception"]
    assert dot.get_attribute("aria-pressed") == "true"
    dot.click()
    assert chosen(browser) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(scheme, explorer, browser):
    emulate(browser, scheme=scheme)
    browser = explorer("#models=googlenet,xception")
    _, background = text_and_background(browser, "body")
    for selector in (
        "#explorer-state",
        "#explorer-table td",
        "#explorer-clear",
        "#explorer-chosen a",
        "#explorer-chosen caption",
    ):
        text, _ = text_and_background(browser, selector)
        assert contrast(text, background) > 4.5, selector
