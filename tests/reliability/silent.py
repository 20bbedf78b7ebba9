"""Figure 7: nothing is silent. A fault is refused with its reason and changes nothing; a requested change is reported."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figure import Figure
from hostile import tiny_model
from isolated import same_bits
from silent_cases import DO, REFUSED, REPORTED
from silent_lab import Lab

import inceptionzoo as iz

PARTS = ("value", "constraint", "remedy")
SILENT, WRONG, CHANGED = "silent", "wrong error", "model changed"


def nothing_silent() -> Figure:
    """Run every case of the two tables."""
    figure = Figure(
        "7 nothing silent",
        (SILENT, WRONG, *(f"message lacks the {part}" for part in PARTS), CHANGED),
        ("refused", "reported"),
    )
    rows = [tuple(map(str.strip, line.split(" | "))) for line in REFUSED.strip().splitlines()]
    if [row[0] for row in rows] != [*DO]:
        raise RuntimeError("the tables of refused cases must have the same names in the same order")
    for name, error, *words in rows:
        with _lab() as lab:
            _refused(figure, lab, name, getattr(iz, error), words)
    for name in REPORTED:
        with _lab() as lab:
            _reported(figure, lab, name)
    return figure


@contextmanager
def _lab() -> Iterator[Lab]:
    with tempfile.TemporaryDirectory() as folder, tiny_model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about quantized tensors and repeated names in an archive
        yield Lab(model, Path(folder))


def _refused(figure: Figure, lab: Lab, name: str, kind: type[Exception], words: list[str]) -> None:
    try:
        DO[name](lab)
        figure.add(SILENT, name)
    except Exception as error:
        if type(error) is kind:
            figure.add("refused")
            for part, word in zip(PARTS, words, strict=True):
                if word not in str(error):
                    figure.add(f"message lacks the {part}", f"{name}: no {word!r} in {str(error)!r}")
        else:
            figure.add(WRONG, f"{name}: {error!r}")
    net = lab.model
    if not same_bits(net.state_dict(), lab.before) or net.report or net.class_names or net.training:
        figure.add(CHANGED, name)


def _reported(figure: Figure, lab: Lab, name: str) -> None:
    do, field, words = REPORTED[name]
    try:
        report = do(lab)
        message = str(getattr(report, field) if field else report)
    except iz.ZooError as error:
        message = "" if field else str(error)
    except Exception as error:
        figure.add(WRONG, f"{name}: {error!r}")
        return
    figure.add("reported" if all(word in message for word in words) else SILENT, f"{name}: {message}")
