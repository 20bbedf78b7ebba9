"""Read the code of docs/embedding, by heading."""

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "embedding"
SECTION = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def sections() -> dict[str, str]:
    """Return the code under each heading of the pages."""
    code_by_title = {}
    for page in sorted(PAGES.glob("*.md")):
        code_by_title |= {title: "".join(BLOCK.findall(text)) for title, text in SECTION.findall(page.read_text("utf-8"))}
    return code_by_title
