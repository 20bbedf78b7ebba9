"""Write what the explorer page shows of every model into `docs/explorer/models.json`, one model a line."""

from __future__ import annotations

import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import inceptionzoo as iz

FILE = Path(__file__).parent / "explorer" / "models.json"
FAMILIES = {
    entry.name: family for family, module in vars(iz.models).items() for entry in getattr(module, "ENTRIES", ())
}  # the page that each model is on is named like the file that it is in


def described(name: str) -> dict[str, Any]:
    """Return the facts of a model: counts in units, sides in pixels, `stages` as `summary` prints their cells."""
    info = iz.model_info(name)
    levels = iz.create_model(name, features_only=True, device="meta").feature_info
    with redirect_stdout(None):
        table = iz.summary(name)
    return {
        "name": name,
        "family": FAMILIES[name],
        "title": family_title(FAMILIES[name]),
        "params": info.params,
        "macs": info.macs,
        "depth": table.total.cost.depth,
        "classes": info.num_classes,
        "input": info.input_size[1],
        "smallest": info.min_input_size,
        "about": info.about,
        "paper": info.paper,
        "levels": list(zip(levels.reduction(), levels.channels(), strict=True)),
        "weights": [
            {"tag": tag, "top1": row.top1, "note": row.note, "licence": row.license, "url": address(row.url)}
            for tag, row in info.weights.items()
        ],
        "stages": [row.cells for row in (*table.rows, table.total)],
    }


def family_title(family: str) -> str:
    """Return the heading of a family's page."""
    return (Path(__file__).parent / "families" / f"{family}.md").read_text().partition("# ")[2].splitlines()[0]


def address(url: str) -> str:
    """Return where a reader finds weights: a Hub repository's page, else the file itself."""
    return re.sub("^hf-hub:", "https://huggingface.co/", url)


def explorer_data() -> str:
    """Return the file's text."""
    return "[\n" + ",\n".join(json.dumps(described(name), ensure_ascii=False) for name in iz.list_models()) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(explorer_data())
