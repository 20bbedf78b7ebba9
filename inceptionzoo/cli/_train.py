"""The command `train`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..errors import ArgumentError
from ..evaluation import Result, evaluate
from ..nn import Net, with_aux
from ..train import History, estimate_memory, fit
from ..weights import atomic_write_text, load_weights
from ..zoo import check_takes_images, create_model, save_pretrained
from ._checks import check_device_of_values
from ._evaluate import describe_result, print_result, write_plots
from ._images import UnreadableImages
from ._training_images import (
    CROP,
    LabelledImages,
    ResizedImages,
    find_labelled_images,
    held_out_files,
    make_data_sets,
    mean_and_std,
    read_images,
)

RECORD = "command.json"
RECORDED = "model", "weights", "pretrained", "size", "augment", "balance", "aux", "drop_rate"  # options of the model and images


def run_train(options: argparse.Namespace) -> dict[str, Any]:
    """Train a model on a folder of images, evaluate it on images that are held out, and save it with plots and a model card.

    The saved model is that of the epoch with the best AUC on the images held out. Its figures are of the same images, so they
    are slightly too high. To report a figure, evaluate the model on other images.

    FOLDER has either a folder for each class, of which every fifth image is held out, or train/ and val/ with such folders.
    Images that cannot be read are reported and left out, and the exit code is 3. After Ctrl-C the same command continues.
    """
    device = check_device_of_values(options.device)
    _check_epochs(options)
    torch.manual_seed(options.seed)
    images = find_labelled_images(Path(options.folder))
    check_out(options, images)
    model = make_model(options, len(images.folder.classes))
    plan = describe_plan(options, model, images)
    if not options.json:
        print_plan(plan)
    if options.dry_run:
        return plan
    Path(options.out).mkdir(parents=True, exist_ok=True)
    record = describe_training(options, images)
    images, loader, unreadable = prepare_images(model, images)
    write_record(options, record)
    train, held_out = make_loaders(options, images, model, loader)
    try:
        history = fit(model, train, held_out, **fit_arguments(options, images), device=device)
    except KeyboardInterrupt:
        command = "the same command without --overwrite" if options.overwrite else "the same command"
        print(f"inceptionzoo: interrupted; {command} continues after the last epoch in {options.out}", file=sys.stderr)
        raise
    load_weights(model, Path(options.out) / "best.safetensors")  # `fit` leaves the weights of the last epoch
    result = evaluate(model, DataLoader(held_out_files(images, model), options.batch, num_workers=options.workers))
    values = describe_result(result)
    save_results(options, model, images, history, result)
    if not options.json:
        print_result(values)
        saved, epoch = f"{options.out}/model", best_epoch(history)
        print(f"saved: {saved}, the model of epoch {epoch}; classify images with `inceptionzoo predict {saved} IMAGE...`")
    return {**plan, "result": values, "unreadable": unreadable.found}


def _check_epochs(options: argparse.Namespace) -> None:
    """Check the options that depend on --epochs, before the images are read."""
    for name, most in (("warmup_epochs", options.epochs - 1), ("freeze_epochs", options.epochs)):
        if (value := getattr(options, name)) > most:
            option = f"--{name.replace('_', '-')}"
            raise ArgumentError(f"{option} {value} must be at most {most} with --epochs {options.epochs}")


def describe_training(options: argparse.Namespace, images: LabelledImages) -> dict[str, Any]:
    """Return what is trained, and on which images, as plain values."""
    return {"images": images.digest(), **{name: getattr(options, name) for name in RECORDED}}


def check_out(options: argparse.Namespace, images: LabelledImages) -> None:
    """Check the folder --out, before the images are read.

    Raises:
        ArgumentError: it holds another training, or one whose record is damaged; is no folder; or lies where it would count as
            a class the next time.
    """
    out, root = Path(options.out), Path(images.folder.root)
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"--out {out} is a file, and must be a folder")
    if out.resolve().is_relative_to(root.resolve()):
        raise ArgumentError(f"--out {out} is inside {root}, whose folders are the classes; pass a folder outside as --out")
    path = out / RECORD
    if path.is_file() and (out / "history.json").is_file() and not options.overwrite:
        before = _read_record(path)
        record = describe_training(options, images)
        if changed := [name for name, value in record.items() if before.get(name) != value]:
            what = "of other images" if changed[0] == "images" else f"with another --{changed[0].replace('_', '-')}"
            raise ArgumentError(f"--out {out} holds a training {what}; pass another --out, or --overwrite")


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{path} does not describe a training: {error}; pass another --out, or --overwrite") from error


def write_record(options: argparse.Namespace, record: dict[str, Any]) -> None:
    """Write the result of `describe_training` to a file in --out. With --overwrite, remove the state of the old training first.

    Otherwise an interrupt in the first epoch would leave the old state beside the new record, and both would continue together.
    """
    out = Path(options.out)
    if options.overwrite:
        (out / "last.safetensors").unlink(missing_ok=True)
    atomic_write_text(out / RECORD, json.dumps(record, indent=2))


def prepare_images(model: Net, images: LabelledImages) -> tuple[LabelledImages, ResizedImages, UnreadableImages]:
    """Read the images once. Return those that can be read, their loader, and the others.

    A model with random weights gets the mean and the standard deviation of the images to train on.
    """
    unreadable, count = UnreadableImages(), len(images.train) + len(images.val)
    loader = ResizedImages(round(model.data.input_size[1] / CROP), model.in_chans, count)
    moments = read_images(images, loader, unreadable)
    unreadable.print_count(count)
    readable = images.without(row["path"] for row in unreadable.found)
    readable.check()
    if model.report is None:
        mean, std = mean_and_std(moments, readable.train)
        model.data = replace(model.data, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    return readable, loader, unreadable


def make_model(options: argparse.Namespace, num_classes: int) -> Net:
    """Return the model to train, with random or loaded weights."""
    model = create_model(
        options.model,
        num_classes=num_classes,
        weights=options.weights,
        pretrained=options.pretrained,
        drop_rate=options.drop_rate,
    )
    check_takes_images(model)
    if options.size is not None:
        model.set_input_size(options.size)
    return with_aux(model) if options.aux else model


def describe_plan(options: argparse.Namespace, model: Net, images: LabelledImages) -> dict[str, Any]:
    """Return what a training will do and need, as plain values."""
    steps = max(1, len(images.train) // options.batch)
    states = (2 if options.adamw else 1) + (options.ema is not None)
    return {
        "model": options.model,
        "input_size": list(model.data.input_size),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train": images.counts(images.train),
        "held_out": images.counts(images.val),
        "epochs": options.epochs,
        "steps": steps * options.epochs,
        "memory": estimate_memory(model, min(options.batch, len(images.train)), states=states).total,
        "out": options.out,
    }


def print_plan(plan: dict[str, Any]) -> None:
    """Print the values of `describe_plan`."""
    _, height, width = plan["input_size"]
    print(f"model: {plan['model']}, {height}x{width} px, {plan['parameters']:,} parameters")
    for what, text in {"train": "images to train on", "held_out": "images held out"}.items():
        classes = ", ".join(f"{name} {count:,}" for name, count in plan[what].items())
        print(f"{text}: {sum(plan[what].values()):,} ({classes})")
    print(f"epochs: {plan['epochs']}, {plan['steps']:,} steps in all")
    print(f"memory of a step: about {plan['memory'] / 2**20:,.0f} MiB, and what torch itself needs")
    print(f"results: {plan['out']}")


def make_loaders(
    options: argparse.Namespace, images: LabelledImages, model: Net, loader: ResizedImages
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the batches to train on, and those held out."""
    train, val = make_data_sets(images, model, loader, augment=options.augment)
    is_full = len(train) >= options.batch
    batches: DataLoader[Any] = DataLoader(train, options.batch, shuffle=True, drop_last=is_full, num_workers=options.workers)
    return batches, DataLoader(val, options.batch, num_workers=options.workers)


def fit_arguments(options: argparse.Namespace, images: LabelledImages) -> dict[str, Any]:
    """Return the arguments of `fit`."""
    arguments = {
        name: getattr(options, name)
        for name in ("epochs", "ema", "freeze_epochs", "label_smoothing", "precision", "out", "seed", "warmup_epochs")
    }
    weights = balanced_weights(list(images.counts(images.train).values())) if options.balance else None
    arguments |= {"class_weights": weights, "layer_decay": options.layer_decay, "resume": not options.overwrite and "auto"}
    arguments |= {"monitor": "auc", "metrics": {"balanced_accuracy": lambda result: result.balanced_accuracy}}
    return {**arguments, "lr": options.lr, "optimizer": "adamw" if options.adamw else "sgd"}


def balanced_weights(counts: list[int]) -> Tensor:
    """Return a weight for each class: the inverse of its number of images, with a mean of 1."""
    weights = 1 / torch.tensor(counts)
    return weights / weights.mean()


def best_epoch(history: History) -> int:
    """Return the number of the best epoch, counted from 1."""
    return round(history.best["epoch"]) + 1


def save_results(options: argparse.Namespace, model: Net, images: LabelledImages, history: History, result: Result) -> None:
    """Write the model, its card and the plots to the output folder."""
    out = Path(options.out)
    values = {"accuracy": result.accuracy, "balanced_accuracy": result.balanced_accuracy, "auc": result.auc}
    name = Path(options.folder).resolve().name
    text = (
        f"Trained on the {len(images.train)} images of {name}/, {options.epochs} epochs, seed {options.seed}. The weights are "
        f"those of epoch {best_epoch(history)}, chosen by its AUC on the {len(images.val)} images held out; the metrics are of "
        "the same images, so they are slightly too high."
    )
    save_pretrained(model, out / "model", metrics=values, description=text)
    history.plot(out / "curves.png")
    write_plots(result, out)
