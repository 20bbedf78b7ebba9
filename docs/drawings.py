"""Write a picture of every model into `docs/drawings`. `make tables` runs it."""

from pathlib import Path

import inceptionzoo as iz

FOLDER = Path(__file__).parent / "drawings"


def drawings() -> dict[str, str]:
    """Return the SVG of every model by file name."""
    return {f"{name}.svg": iz.draw(name).svg for name in iz.list_models()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.svg"):
        old.unlink()
    for name, svg in drawings().items():
        (FOLDER / name).write_text(svg)
