"""Write the tables of models, published weights and networks into the pages of docs. `make tables` runs it."""

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
    """Return a model's row of the table of models."""
    info = iz.model_info(name)
    size = size_text(info.input_size)
    return f"| `{name}` | {info.params:,} | {info.macs / 1e9:.2f} | {size} | {info.min_input_size} | {info.about} |"


def size_text(input_size: tuple[int, ...]) -> str:
    """Return the side of a square image, the length of a signal, or frames x height x width of a clip."""
    return str(input_size[1]) if len(input_size) == 3 else "x".join(map(str, input_size[1:]))


def weights_row(name: str) -> str:
    """Return a row of the table of published weights."""
    row = iz.model_info(name).weights[name.partition(".")[2]]
    data, (kind, _, digits) = row.data, row.digest.partition(":")
    accuracy = f"{row.top1:.3f}" if row.top1 else row.note or "-"
    size = f"{size_text(data.input_size)}, {data.crop_pct:g}, {data.interpolation}"
    colours = f"{per_channel(data.mean)}, {per_channel(data.std)}"
    checksum = "the Hub's" if row.url.startswith("hf-hub:") else f"{kind} {digits[:9]}" if kind else "none named"
    return f"| `{name}` | {accuracy} | {size} | {colours} | {row.license} | {checksum} | {row.url} |"


def per_channel(values: tuple[float, ...]) -> str:
    """Return the values, or one number if all are equal."""
    return " ".join(f"{value:.3g}" for value in (values[:1] if len(set(values)) == 1 else values))


def network(name: str) -> Table:
    """Return the summary of a model, as a text block."""
    with redirect_stdout(None):
        first, *rest = str(iz.summary(name)).splitlines()
    return f"```text\n{first}\n", lambda: [*rest, "```"]


def models(filter: str | Iterable[str] = "") -> Table:
    """Return the table of the models whose names match the filter."""
    return MODELS, lambda: map(model_row, iz.list_models(filter))


Table = tuple[str, Callable[[], Iterable[str]]]  # the head, and a function that returns the rows
FAMILIES: dict[str, tuple[str | list[str], str]] = {  # page: the filter of its models, and the network that it prints
    "googlenet": ("googlenet*", "googlenet_paper"),
    "bn_inception": (["bn_inception", "inception_v2"], "bn_inception"),
    "inception_v3": ("inception_v3*", "inception_v3"),
    "inception_v4": ("inception_v4", "inception_v4"),
    "inception_resnet": ("inception_resnet*", "inception_resnet_v1"),
    "xception": ("xception*", "xception"),
    "vgg": ("vgg*", "vgg16"),
    "inception_time": ("inception_time", "inception_time"),
    "i3d": ("i3d", "i3d"),
    "s3d": ("s3d", "s3d"),
}
TABLES: dict[str, list[Table]] = {
    "docs/models.md": [models()],
    "docs/weights.md": [(WEIGHTS, lambda: map(weights_row, iz.list_models(pretrained=True)))],
    **{f"docs/families/{page}.md": [models(names), network(shown)] for page, (names, shown) in FAMILIES.items()},
}


def updated(page: str, text: str) -> str:
    """Return the text of a page with new rows under the head of each table. A table ends at an empty line."""
    for head, rows in TABLES[page]:
        before, separator, after = text.partition(head)
        if separator:
            rest = after.partition("\n\n")[2]
            text = "".join([before, head, "\n".join(rows()), "\n\n", rest])
    return text


if __name__ == "__main__":
    for name in TABLES:
        path = ROOT / name
        path.write_text(updated(name, path.read_text()))
