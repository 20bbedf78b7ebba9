"""Every section of docs/embedding has a test, and every test has a section."""

import re
from pathlib import Path

from sections import sections

HERE = Path(__file__).parent


def test_every_section_has_a_test_and_every_test_a_section():
    text = "".join(path.read_text() for path in HERE.glob("test_*.py") if path.name != "test_pages.py")
    assert set(re.findall(r'\bpage\("(.+?)"\)', text)) == set(sections())
    assert all(sections().values())
    lines = {title: code.count("\n") for title, code in sections().items()}
    assert max(lines.values()) <= 30, lines
