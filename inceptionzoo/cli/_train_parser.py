"""The arguments of the command `train`."""

from __future__ import annotations

import argparse

from ._checks import count, number, path, positive_int, rate, seed

BATCH = 32  # images; `info` estimates the memory for as many


def add_train_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments: folders, model, optimization, images."""
    text = "a folder with a folder for each class, or with train/ and val/"
    command.add_argument("folder", type=path, metavar="FOLDER", help=text)
    text = "folder for the results (default: runs/train)"
    command.add_argument("--out", type=path, default="runs/train", metavar="DIR", help=text)
    command.add_argument("--overwrite", action="store_true", help="replace the training in DIR (default: continue it)")
    command.add_argument("--dry-run", action="store_true", help="only print the images, the model, and the memory it needs")
    command.add_argument("--seed", type=seed, default=0, help="of the random numbers (default: 0)")
    command.add_argument("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
    _add_model_arguments(command.add_argument_group("model"))
    _add_image_arguments(command.add_argument_group("images"))
    _add_optimization_arguments(command.add_argument_group("optimization"))


def _add_model_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model", default="googlenet", metavar="NAME", help="a name from `inceptionzoo list` (default: googlenet)"
    )
    start = group.add_mutually_exclusive_group()
    start.add_argument("--pretrained", action="store_true", help="start from the published weights")
    start.add_argument("--weights", type=path, metavar="FILE", help="start from a .safetensors, .pth, .keras or .h5 file")
    group.add_argument("--drop-rate", type=rate, help="dropout before the classifier (default: the model's)")
    group.add_argument("--aux", action="store_true", help="train with the auxiliary classifiers of the network")


def _add_image_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--size", type=positive_int, help="side of the images in pixels (default: the model's)")
    group.add_argument("--augment", action="store_true", help="also rotate by 90 degrees, mirror and brighten")
    group.add_argument("--balance", action="store_true", help="weight each class by the inverse of its number of images")
    group.add_argument("--workers", type=count, default=0, metavar="N", help="processes that prepare images (default: 0)")


def _add_optimization_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", type=positive_int, default=20, metavar="N", help="passes over the images (default: 20)")
    group.add_argument(
        "--batch", "--batch-size", type=positive_int, default=BATCH, metavar="N", help=f"images in a batch (default: {BATCH})"
    )
    group.add_argument("--lr", type=number, help="learning rate (default: the model's; 5e-4 with --adamw)")
    group.add_argument("--adamw", action="store_true", help="use AdamW with weight decay 0.05 (default: SGD with momentum)")
    group.add_argument(
        "--warmup-epochs", type=count, default=0, metavar="N", help="epochs in which the learning rate rises (default: 0)"
    )
    group.add_argument(
        "--freeze-epochs", type=count, default=0, metavar="N", help="epochs that train only the classifier (default: 0)"
    )
    group.add_argument("--layer-decay", type=number, help="ratio of a stage's learning rate to the next stage's, such as 0.8")
    group.add_argument("--label-smoothing", type=rate, default=0.0, help="of the cross entropy (default: 0)")
    group.add_argument("--ema", type=rate, metavar="DECAY", help="keep a moving average of the weights, such as 0.99")
    group.add_argument(
        "--precision", default="fp32", choices=("fp32", "bf16", "fp16"), help="of the feature maps (default: fp32)"
    )
