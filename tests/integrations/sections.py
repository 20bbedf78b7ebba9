"""The code that stands under each heading of docs/embedding."""

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "embedding"
SECTION = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def sections() -> dict[str, str]:
    """Return the code under each heading of the pages."""
    found = {}
    for page in sorted(PAGES.glob("*.md")):
        found |= {title: "".join(BLOCK.findall(text)) for title, text in SECTION.findall(page.read_text("utf-8"))}
    return found
