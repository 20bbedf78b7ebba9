"""Write the table of models in README.md and docs/models.md from the registry, as `make tables` does."""

from pathlib import Path

import inceptionzoo as iz

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/models.md")
HEADINGS = "| model | parameters | GMACs | input px | smallest px | what it is |"
RULE = "| --- | ---: | ---: | ---: | ---: | --- |"


def row(name: str) -> str:
    """Return the row of a model."""
    info = iz.model_info(name)
    side = info.input_size[1]
    return f"| `{name}` | {info.params:,} | {info.macs / 1e9:.2f} | {side} | {info.min_input_size} | {info.about} |"


def updated(page: str) -> str:
    """Return the page with the table that follows its headings replaced by the registry's."""
    before, headings, after = page.partition(f"{HEADINGS}\n")
    rest = after.partition("\n\n")[2]
    return "".join([before, headings, "\n".join([RULE, *map(row, iz.list_models())]), "\n\n", rest])


if __name__ == "__main__":
    for name in PAGES:
        path = ROOT / name
        path.write_text(updated(path.read_text()))
