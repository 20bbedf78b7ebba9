"""The built pages in chromium. `make test-site` builds and tests them."""

from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from browsing import ROOT, SITE, contrast, drawn_colours, emulate, find, luminance, text_and_background, wait

pytestmark = pytest.mark.site

PAGES = sorted(f"{path.parent.relative_to(SITE).as_posix()}/".removeprefix("./") for path in SITE.rglob("index.html"))
SOURCES = [path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")]
WIDE = """
return [...document.querySelectorAll("body *")].filter((node) => {
  const clips = (at) => at && (/auto|scroll|hidden|clip/.test(getComputedStyle(at).overflowX) || clips(at.parentElement));
  return node.getBoundingClientRect().right > innerWidth + 1 && node.checkVisibility() && !clips(node);
}).map((node) => node.outerHTML.slice(0, 80));
"""
SIDEWAYS = """
return [...document.querySelectorAll("article *")].filter((node) =>
  /auto|scroll/.test(getComputedStyle(node).overflowX) && node.scrollWidth > node.clientWidth + 1
  && !node.matches("code, pre") && !node.querySelector("table, img[src*='/drawings/']")
).map((node) => node.outerHTML.slice(0, 80));
"""
BROKEN = """
await Promise.all([...document.images].map((image) => { image.loading = "eager"; return image.decode().catch(() => {}); }));
return [...document.images].filter((image) => !image.naturalWidth).map((image) => image.src);
"""

BARS = """
return [...document.querySelectorAll(".bars b")].map((bar) => [bar.textContent, getComputedStyle(bar, "::before").width]);
"""
SEARCH = "return [...document.querySelectorAll('body > div')].find((node) => node.shadowRoot)?.shadowRoot"


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = set(), {"", "__search"}
        self.feed(text)

    def handle_starttag(self, _, attrs):
        attributes = dict(attrs)
        self.links |= {attributes[name] for name in ("href", "src") if attributes.get(name)}
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}


def test_every_source_is_a_page():
    built = {str(source.parent if source.name == "index" else source).removeprefix(".") for source in SOURCES}
    assert built == {page.rstrip("/") for page in PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens(page, browser, base):
    """It logs no error and shows every picture. At 390 px only tables, code and drawings scroll sideways."""
    browser.get(base + page)
    assert browser.execute_script(BROKEN) == []
    paragraphs = [paragraph.text for paragraph in find(browser, "article p")]
    assert [text for text in paragraphs if text.startswith("|")] == []  # a malformed table is shown as text
    emulate(browser, width=390)
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= 390
    assert browser.execute_script(WIDE) == []
    assert browser.execute_script(SIDEWAYS) == []


def test_every_link_has_a_target():
    pages = {page: Page((SITE / page / "index.html").read_text()) for page in PAGES}
    for page, content in pages.items():
        for link in content.links:
            url = urlsplit(urljoin(f"http://site/{page}", link))
            if url.netloc != "site" or "=" in url.fragment:  # a link to another host, or with a state of the explorer
                continue
            path = url.path.removeprefix("/").removesuffix("index.html")
            assert (SITE / path).exists(), f"{page}: {link}"
            if path in pages:
                assert unquote(url.fragment) in pages[path].anchors, f"{page}: {link}"


def test_the_home_page_fits_a_screen(browser, base):
    """At 1280 x 900 px nothing of it lies below the screen, and its bars are as long as their numbers say."""
    browser.get(base)
    assert browser.execute_script("return document.querySelector('.home').getBoundingClientRect().bottom") <= 900
    bars = browser.execute_script(BARS)
    ratios = [float(width.removesuffix("px")) / float(number) for number, width in bars]
    assert len(ratios) == 5
    assert ratios == pytest.approx([ratios[0]] * 5, rel=0.01)


def test_search_finds_words(browser, base):
    browser.get(base)
    find(browser, ".md-search__button")[0].click()
    dialog = wait(browser, lambda: browser.execute_script(SEARCH))
    wait(browser, lambda: find(dialog, "[role='combobox']"))[0].send_keys("auxiliary heads")
    first = wait(browser, lambda: find(dialog, "[role='option']"))[0]
    assert "auxiliary" in first.get_attribute("textContent").lower()
    browser.get(urldefrag(first.get_attribute("href"))[0])
    assert "auxiliary heads" in wait(browser, lambda: find(browser, "article"))[0].text.lower()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_toggle_changes_page_and_pictures(scheme, browser, base):
    """In both schemes text has enough contrast, on the page and in a drawing, and the drawing has the scheme of the page."""
    emulate(browser, scheme=scheme)
    browser.get(f"{base}families/googlenet/")
    lights = []
    for _ in range(2):
        text, background = text_and_background(browser, "body")
        paper, ink = drawn_colours(browser, find(browser, "article img")[0])
        assert contrast(text, background) > 7
        assert contrast(ink, paper) > 7
        assert (luminance(paper) > 0.5) == (luminance(background) > 0.5)
        lights.append(luminance(background) > 0.5)
        next(label for label in find(browser, "[data-md-component='palette'] label") if label.is_displayed()).click()
    assert lights == ([True, False] if scheme == "light" else [False, True])
