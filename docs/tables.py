"""Write the tables of models, of published weights and of networks in the pages from the registry, as `make tables` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from pathlib import Path

import inceptionzoo as iz

ROOT = Path(__file__).parents[1]
MODELS = """\
| model | parameters | GMACs | input px | smallest px | what it is |
| --- | ---: | ---: | ---: | ---: | --- |
"""
WEIGHTS = """\
| name | top-1 % | input px, crop | mean, std | licence | checksum | source |
| --- | ---: | --- | --- | --- | --- | --- |
"""


def model_row(name: str) -> str:
    """Return the row of a model."""
    info = iz.model_info(name)
    side = info.input_size[1]
    return f"| `{name}` | {info.params:,} | {info.macs / 1e9:.2f} | {side} | {info.min_input_size} | {info.about} |"


def weights_row(name: str) -> str:
    """Return the row of published weights."""
    row = iz.model_info(name).weights[name.partition(".")[2]]
    data, (kind, _, digits) = row.data, row.digest.partition(":")
    reported = f"{row.top1:.3f}" if row.top1 else row.note or "-"
    size = f"{data.input_size[1]}, {data.crop_pct:g}, {data.interpolation}"
    colours = f"{short(data.mean)}, {short(data.std)}"
    checksum = "the Hub's" if row.url.startswith("hf-hub:") else f"{kind} {digits[:9]}" if kind else "none named"
    return f"| `{name}` | {reported} | {size} | {colours} | {row.license} | {checksum} | {row.url} |"


def short(values: tuple[float, ...]) -> str:
    """Return one number for three equal ones."""
    return " ".join(f"{value:.3g}" for value in (values[:1] if len(set(values)) == 1 else values))


def network(name: str) -> Table:
    """Return the summary of a model as a block of text."""
    with redirect_stdout(None):
        first, *rest = str(iz.summary(name)).splitlines()
    return f"```text\n{first}\n", lambda: [*rest, "```"]


def models(filter: str | Iterable[str] = "") -> Table:
    """Return the table of the models that match."""
    return MODELS, lambda: map(model_row, iz.list_models(filter))


Table = tuple[str, Callable[[], Iterable[str]]]  # its head, and its rows, up to an empty line
FAMILIES: dict[str, tuple[str | list[str], str]] = {  # page: whose models it has, and which network it prints
    "googlenet": ("googlenet*", "googlenet_paper"),
    "bn_inception": (["bn_inception", "inception_v2"], "bn_inception"),
    "inception_v3": ("inception_v3*", "inception_v3"),
    "inception_v4": ("inception_v4", "inception_v4"),
    "inception_resnet": ("inception_resnet*", "inception_resnet_v1"),
    "xception": ("xception", "xception"),
    "vgg": ("vgg*", "vgg16"),
}
TABLES: dict[str, list[Table]] = {
    "README.md": [models()],
    "docs/models.md": [models()],
    "docs/weights.md": [(WEIGHTS, lambda: map(weights_row, iz.list_models(pretrained=True)))],
    **{f"docs/families/{page}.md": [models(names), network(shown)] for page, (names, shown) in FAMILIES.items()},
}


def updated(page: str, text: str) -> str:
    """Return the page's text with the rows under each table's head replaced by the registry's."""
    for head, rows in TABLES[page]:
        before, found, after = text.partition(head)
        text = "".join([before, found, "\n".join(rows()), "\n\n", after.partition("\n\n")[2]]) if found else text
    return text


if __name__ == "__main__":
    for name in TABLES:
        path = ROOT / name
        path.write_text(updated(name, path.read_text()))
