"""The command `evaluate`."""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..evaluation import Result, evaluate
from ..nn import CLASS_TASKS
from ..zoo import open_image, transforms
from ._images import ReadableBatches, UnreadableImages, find_image_folder
from ._model import open_model
from ._table import table_lines


def run_evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a model on a folder that has a folder of images for each class.

    Images that cannot be read are reported and left out, and the exit code is 3. Classes are matched by name; if the model
    has no class names, by their order.
    """
    images = find_image_folder(options.folder)  # before a model is downloaded
    model = open_model(options)
    if model.task not in CLASS_TASKS:
        raise ArgumentError(f"{options.model} is a model for {model.task}, not for classes; use evaluate() in Python")
    images.loader, images.transform = partial(open_image, channels=model.in_chans), transforms(model)
    unreadable = UnreadableImages()
    batches = ReadableBatches(images, options.batch, unreadable)
    if options.plots:
        Path(options.plots).mkdir(parents=True, exist_ok=True)  # before minutes of work
    result = evaluate(model, batches)
    unreadable.print_count(len(images))
    values = describe_result(result)
    if not options.json:
        print_result(values)
    if options.plots:
        write_plots(result, Path(options.plots))
    return {"model": options.model, "folder": options.folder, **values, "unreadable": unreadable.found}


def describe_result(result: Result) -> dict[str, Any]:
    """Return the figures of a result as plain values; None stands for nan."""
    numbers = {
        "loss": result.loss,
        **result.metrics,
        "balanced_accuracy": result.balanced_accuracy,
        "calibration_error": result.calibration_error,
    }
    return {
        "images": len(result.targets),
        **{name: None if math.isnan(value) else value for name, value in numbers.items()},
        "class_names": list(result.class_names),
        "confusion": result.confusion.tolist(),
    }


def print_result(values: dict[str, Any]) -> None:
    """Print the figures of `describe_result`, with the confusion matrix of up to ten classes."""
    names, rows = values["class_names"], values["confusion"]
    for name, value in values.items():
        if not isinstance(value, list):
            print(f"{name}: {'undefined: only one class has images' if value is None else f'{value:.4g}'}")
    if len(names) > 10:
        return
    table = [["truth \\ prediction", *names], *([name, *map(str, row)] for name, row in zip(names, rows, strict=True))]
    print("\n".join(table_lines(table)))


def write_plots(result: Result, folder: Path) -> None:
    """Write the plots of a result to a folder. The curves need images of two classes or more."""
    result.plot(folder / "confusion.png")
    result.plot_calibration(folder / "calibration.png")
    if not math.isnan(result.auc):
        result.plot_roc(folder / "roc.png")
        result.plot_precision_recall(folder / "precision_recall.png")
