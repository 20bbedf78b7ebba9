"""The command `predict`."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from tqdm import tqdm

from ..errors import ArgumentError
from ..evaluation import task_of
from ..nn import CLASS_TASKS, Net
from ..zoo import Ensemble, image_endings, predict_files
from ._checks import check_target_folder
from ._images import UnreadableImages, find_images
from ._model import open_model

SHOWN = 5  # answers in a line of text
Write = Callable[[str, dict[str, float]], None]


def run_predict(options: argparse.Namespace) -> dict[str, Any]:
    """Classify images: a line for each, with the most probable classes and their probabilities.

    Images that cannot be read are reported and left out, and the exit code is 3. Ctrl-C keeps the answers so far.
    """
    paths, unreadable = find_images(options.images), UnreadableImages()
    _check_csv(options.csv, paths)
    model = open_model(options)
    predictions: list[dict[str, Any]] = []
    result = {"model": options.model, "predictions": predictions, "unreadable": unreadable.found, "interrupted": False}
    answers = predict_files(model, paths, topk=options.top, batch_size=options.batch, on_error=unreadable.add)
    with _output(options, model) as write, tqdm(total=len(paths), unit=" images", leave=False, disable=None) as bar:
        try:
            for path, answer in answers:
                write(path, dict(answer))
                if options.json:
                    predictions.append({"path": path, _values_name(model): dict(answer)})
                bar.update()
        except KeyboardInterrupt:
            result["interrupted"] = True
    unreadable.print_count(len(paths))
    return result


def _check_csv(target: str | None, paths: list[str]) -> None:
    """Check that the file of --csv can be written and is no image: a pattern may have been given in place of a name.

    Raises:
        ArgumentError: its folder does not exist, or it is one of the images, or has the name of one.
    """
    if target is None:
        return
    check_target_folder("--csv", target)
    is_image = os.path.realpath(target) in map(os.path.realpath, paths)
    if is_image or target.lower().endswith(image_endings()):
        raise ArgumentError(f"--csv {target} is an image; give the name of a file for the table, such as predictions.csv")


def _values_name(model: Net | Ensemble) -> str:
    return "values" if model.task == "regression" else "probabilities"


@contextmanager
def _output(options: argparse.Namespace, model: Net | Ensemble) -> Iterator[Write]:
    """Yield a function that writes the answer for an image: to the file of --csv, else to stdout unless --json is given."""
    if not options.csv:
        shown = options.top or SHOWN
        yield (lambda *_: None) if options.json else lambda path, answer: _print_answer(path, answer, shown)
        return
    with open(options.csv, "w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        table, names = csv.writer(stream), task_of(model, model.num_classes).names(model.class_names)
        if options.top:
            value = "value" if model.task == "regression" else "probability"
            ranks = range(1, min(options.top, len(names)) + 1)
            table.writerow(["path", *(f"{column}_{rank}" for rank in ranks for column in ("class", value))])
            yield lambda path, answer: table.writerow([path, *chain.from_iterable(answer.items())])
        else:
            best = ["prediction"] if model.task in CLASS_TASKS else []
            table.writerow(["path", *best, *names])
            yield lambda path, answer: table.writerow([path, *list(answer)[: len(best)], *map(answer.get, names)])
    if not options.json:
        print(f"written: {options.csv}")


def _print_answer(path: str, answer: dict[str, float], shown: int) -> None:
    values = ", ".join(f"{name} {value:.4g}" for name, value in islice(answer.items(), shown))
    tqdm.write(f"{path}: {values}", sys.stdout)
