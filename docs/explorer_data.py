"""Write the data of the explorer page to `docs/explorer/models.json`, one model per line. `make tables` runs it."""

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
}  # a family's page has the name of the module in `inceptionzoo.models`


def describe(name: str) -> dict[str, Any]:
    """Return what the page shows of a model: sizes in pixels, `stages` as the cells that `summary` prints."""
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
        "input": info.input_size[-1],
        "smallest": info.min_input_size,
        "about": info.about,
        "paper": info.paper,
        "levels": list(zip(levels.reduction(), levels.channels(), strict=True)),
        "weights": [
            {"tag": tag, "top1": row.top1, "note": row.note, "licence": row.license, "url": web_address(row.url)}
            for tag, row in info.weights.items()
        ],
        "stages": [row.cells for row in (*table.rows, table.total)],
    }


def family_title(family: str) -> str:
    """Return the title of a family's page."""
    return (Path(__file__).parent / "families" / f"{family}.md").read_text().partition("# ")[2].splitlines()[0]


def web_address(url: str) -> str:
    """Return the address to link to: the page of a Hub repository, or the file itself."""
    return re.sub("^hf-hub:", "https://huggingface.co/", url)


def explorer_data() -> str:
    """Return the text of the file."""
    return "[\n" + ",\n".join(json.dumps(describe(name), ensure_ascii=False) for name in iz.list_models()) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(explorer_data())
