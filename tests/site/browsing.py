"""What the tests of the pages share: where the pages are, and how to look at them."""

import io
import os
import re
from collections import Counter
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
SITE = Path(os.environ.get("SITE", ROOT / "site"))


def emulate(chrome, *, width=1280, scheme="light"):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def wait(browser, condition):
    """Wait until `condition()` is true, and return what it returned."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 30, poll_frequency=0.1).until(lambda _: condition())


def text_and_ground(browser, selector):
    """Return the colours of an element's text and of its ground, red, green and blue of 0 to 1."""
    script = "const look = getComputedStyle(document.querySelector(arguments[0])); return [look.color, look.backgroundColor]"
    return [[int(part) / 255 for part in re.findall(r"\d+", colour)[:3]] for colour in browser.execute_script(script, selector)]


def seen(browser, picture):
    """Return the colour that a picture has most of as it stands on the page, and the one that stands out most from it."""
    browser.execute_script("arguments[0].scrollIntoView()", picture)
    shot = Image.open(io.BytesIO(picture.screenshot_as_png)).convert("RGB")
    counts = Counter({colour: count for count, colour in shot.getcolors(2**24)})
    ground, *others = ([part / 255 for part in colour] for colour, _ in counts.most_common())
    return ground, max(others, key=lambda colour: contrast(colour, ground))


def luminance(colour):
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """Return WCAG's contrast of two colours, 1 to 21."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)
