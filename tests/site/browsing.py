"""Functions that the tests of the built pages share."""

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


def text_and_background(browser, selector):
    """Return the colours of an element's text and of its background: red, green and blue from 0 to 1."""
    script = "const look = getComputedStyle(document.querySelector(arguments[0])); return [look.color, look.backgroundColor]"
    return [[int(part) / 255 for part in re.findall(r"\d+", colour)[:3]] for colour in browser.execute_script(script, selector)]


def drawn_colours(browser, picture):
    """Return the most frequent colour of a picture on the page, and the colour with the most contrast to it."""
    browser.execute_script("arguments[0].scrollIntoView()", picture)
    shot = Image.open(io.BytesIO(picture.screenshot_as_png)).convert("RGB")
    counts = Counter({colour: count for count, colour in shot.getcolors(2**24)})
    background, *others = ([part / 255 for part in colour] for colour, _ in counts.most_common())
    return background, max(others, key=lambda colour: contrast(colour, background))


def luminance(colour):
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """Return the WCAG contrast ratio of two colours, from 1 to 21."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)
