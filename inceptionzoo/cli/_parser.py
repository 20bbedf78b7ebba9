"""The arguments of the command line, one function for each command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..bench import PRECISIONS
from ..zoo import list_models
from ._checks import path, positive_int
from ._commands import run_bench, run_cache, run_convert, run_draw, run_info, run_list, run_verify
from ._evaluate import run_evaluate
from ._predict import SHOWN, run_predict
from ._train import run_train
from ._train_parser import add_train_arguments

MODEL_HELP = "a name from `inceptionzoo list`"
SAVED_HELP = "a file of `save_weights`, a folder of `save_pretrained`, hf-hub:OWNER/NAME"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser. The parsed options have `run`, the function of the command."""
    parser = argparse.ArgumentParser(prog="inceptionzoo", description="Every Inception network and VGG: models and weights.")
    parser.add_argument("--version", action="version", version=__version__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    _add_import(parser, "imports")
    _add_import(common, "later_imports")  # a command's parser would overwrite the list of the main parser
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add_command(name: str, help: str, run: Callable[[argparse.Namespace], Any]) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, parents=[common], help=help, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    _add_list_arguments(add_command("list", "list models by name", run_list))
    _add_info_arguments(add_command("info", "show the table and the cost of a model, or the model in a file", run_info))
    add_train_arguments(add_command("train", "train a model on folders of images", run_train))
    _add_predict_arguments(add_command("predict", "classify images", run_predict))
    _add_evaluate_arguments(add_command("evaluate", "evaluate a model on folders of images", run_evaluate))
    _add_draw_arguments(add_command("draw", "draw a model as an SVG", run_draw))
    _add_convert_arguments(add_command("convert", "convert weights to a file of this library", run_convert))
    _add_verify_arguments(add_command("verify", "check a weight file", run_verify))
    _add_bench_arguments(add_command("bench", "time models and other libraries", run_bench))
    cache = add_command("cache", "show or clear what `fuse` keeps of its tuning", run_cache)
    cache.add_argument("--clear", action="store_true", help="remove it")
    return parser


def _add_import(parser: argparse.ArgumentParser, dest: str) -> None:
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest=dest,
        metavar="MODULE",
        help="first import a Python module, for example one that calls register_model; it may be in the current folder",
    )


def _add_list_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("pattern", nargs="?", default="", help="a pattern such as '*inception*' (default: all models)")
    command.add_argument("--pretrained", action="store_true", help="list published weights as name.tag")
    command.add_argument("-l", "--long", action="store_true", help="also show parameters, multiply-adds and image sizes")


def _add_info_arguments(command: argparse.ArgumentParser) -> None:
    accepted = f"{MODEL_HELP}, a file of `save_weights`, hf-hub:OWNER/NAME, or local-dir:PATH"
    _complete_models(command.add_argument("name", help=accepted))


def _add_predict_arguments(command: argparse.ArgumentParser) -> None:
    _add_model(command)
    text = "an image, a folder of images, or a pattern: 'moles/*.jpg'"
    command.add_argument("images", type=path, nargs="+", metavar="IMAGE", help=text)
    command.add_argument(
        "--top", type=positive_int, metavar="K", help=f"number of classes to give (default: all; {SHOWN} in text)"
    )
    text = "write a table: path, prediction, and the probability of each class"
    command.add_argument("--csv", type=path, metavar="FILE", help=text)
    _add_inference_arguments(command)


def _add_evaluate_arguments(command: argparse.ArgumentParser) -> None:
    _add_model(command)
    command.add_argument("folder", type=path, metavar="FOLDER", help="a folder that has a folder of images for each class")
    text = "write plots there: confusion, calibration, ROC, precision-recall"
    command.add_argument("--plots", type=path, metavar="DIR", help=text)
    _add_inference_arguments(command)


def _add_model(command: argparse.ArgumentParser) -> None:
    _complete_models(
        command.add_argument("model", metavar="MODEL", help=f"{SAVED_HELP}, or {MODEL_HELP}, with its published weights")
    )


def _add_inference_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch", type=positive_int, default=32, metavar="N", help="images in a batch (default: 32)")
    command.add_argument("--device", help="cpu, cuda, ... (default: cpu)")
    command.add_argument("--fuse", action="store_true", help="use the inference form: faster after the first batch")


def _add_draw_arguments(command: argparse.ArgumentParser) -> None:
    _complete_models(command.add_argument("name", help=MODEL_HELP))
    command.add_argument("path", type=path, help="the .svg file to write")
    command.add_argument(
        "--full",
        action="store_const",
        const="full",
        default="forms",
        dest="detail",
        help="draw every block; by default, blocks that differ only in their widths are drawn once",
    )


def _add_convert_arguments(command: argparse.ArgumentParser) -> None:
    text = "a .pth, .pt, .ckpt, .keras, .h5 or .safetensors file, hf-hub:OWNER/NAME, or local-dir:PATH"
    command.add_argument("source", type=path, help=text)
    command.add_argument("path", type=path, help="the .safetensors file to write")
    _add_architecture(command)
    command.add_argument("--class-names", metavar="NAME", nargs="+", help="names of the classes, in the order of the outputs")


def _add_verify_arguments(command: argparse.ArgumentParser) -> None:
    text = "a .safetensors, .pth, .keras or .h5 file, hf-hub:OWNER/NAME, or local-dir:PATH"
    command.add_argument("path", type=path, help=text)
    _add_architecture(command)


def _add_bench_arguments(command: argparse.ArgumentParser) -> None:
    text = f"{MODEL_HELP}, a .safetensors file that describes its model, a folder of save_pretrained, or hf-hub:OWNER/NAME"
    _complete_models(command.add_argument("models", nargs="*", default=["googlenet"], metavar="MODEL", help=text))
    command.add_argument(
        "--peers", action="store_true", help="also time torchvision, timm, ONNX Runtime and OpenVINO, if installed"
    )
    job = command.add_mutually_exclusive_group()
    job.add_argument("--train", action="store_const", const="training", dest="job", help="time a training step")
    job.add_argument("--load", action="store_const", const="loading", dest="job", help="time the creation of a model")
    text = "time a process from its start to its first prediction"
    job.add_argument("--start", action="store_const", const="start", dest="job", help=text)
    text = "time each layer of the fused network"
    job.add_argument("--layers", action="store_const", const="layers", dest="job", help=text)
    command.add_argument("--batch", type=positive_int, nargs="+", default=[1, 8], help="images in a batch (default: 1 8)")
    command.add_argument("--size", type=positive_int, help="side of the images in pixels (default: the model's own)")
    command.add_argument("--rounds", type=positive_int, default=9, help="number of timings; the median is shown (default: 9)")
    command.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    command.add_argument(
        "--precision", choices=tuple(PRECISIONS), default="fp32", help="data type of the computation (default: fp32)"
    )
    text = "with --peers: also time int8 forms, calibrated on the images of this folder, and compare their labels"
    command.add_argument("--int8", type=path, metavar="FOLDER", help=text)
    command.add_argument("--device", help="cpu, cuda, ... (default: cpu)")
    command.add_argument("--plot", type=path, metavar="FILE", help="also plot the timings to a .png, .pdf or .svg file")
    command.set_defaults(job="inference")


def _add_architecture(command: argparse.ArgumentParser) -> None:
    command.add_argument("--architecture", metavar="NAME", help=f"{MODEL_HELP}; needed if the weights do not name their model")


def _complete_models(argument: argparse.Action) -> None:
    """Let shell completion suggest the names of models for this argument."""
    argument.completer = lambda **_: list_models()  # type: ignore[attr-defined]  # an attribute that argcomplete reads
