"""The command line: inceptionzoo list | info | draw | convert | verify | bench."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..bench import PRECISIONS, bench
from ..errors import MismatchError, ZooError, check_choice
from ..nn import Net
from ..weights import find_invalid_values, read_weights
from ..weights.download import is_reference
from ..zoo import build_from_metadata, convert, create_model, draw, list_models, model_info, summary

FAILED, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 refused, 2 not understood."""
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may come next
        _complete(parser)
    asked = parser.parse_args(arguments)
    try:
        result = asked.run(asked)
    except (ZooError, OSError) as error:
        print(f"inceptionzoo: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    if asked.json:
        print(json.dumps(result, indent=2, default=dict))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inceptionzoo", description="Every Inception network and VGG: models and weights.")
    parser.add_argument("--version", action="version", version=version("inceptionzoo"))
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", parents=[common], help="list models by name", description=_list.__doc__)
    listing.add_argument("pattern", nargs="?", default="", help="names to show, as in '*inception*'")
    listing.add_argument("--pretrained", action="store_true", help="show the tags of published weights instead")
    listing.set_defaults(run=_list)

    info = commands.add_parser("info", parents=[common], help="show a model's table and cost", description=_info.__doc__)
    _by_name(info.add_argument("name", help="as in `inceptionzoo list`"))
    info.set_defaults(run=_info)

    picture = commands.add_parser("draw", parents=[common], help="draw a model as an SVG", description=_draw.__doc__)
    _by_name(picture.add_argument("name", help="as in `inceptionzoo list`"))
    picture.add_argument("path", help="the .svg file to write")
    picture.add_argument(
        "--full", action="store_const", const="full", default="forms", dest="detail", help="every width of a block"
    )
    picture.set_defaults(run=_draw)

    conversion = commands.add_parser("convert", parents=[common], help="make a file of ours", description=_convert.__doc__)
    conversion.add_argument("source", help="a .pth, .pt, .ckpt or .safetensors file, hf-hub:OWNER/NAME, or local-dir:PATH")
    conversion.add_argument("path", help="the .safetensors file to write")
    conversion.add_argument("--architecture", metavar="NAME", help="our name of the model, where the source does not say")
    conversion.add_argument("--class-names", metavar="NAME", nargs="+", help="what the outputs are called, in order")
    conversion.set_defaults(run=_convert)

    check = commands.add_parser("verify", parents=[common], help="check a file of weights", description=_verify.__doc__)
    check.add_argument("path", help="a .safetensors or .pth file, hf-hub:OWNER/NAME, or local-dir:PATH")
    check.add_argument("--architecture", metavar="NAME", help="our name of the model, where the file does not say")
    check.set_defaults(run=_verify)

    timing = commands.add_parser("bench", parents=[common], help="time models, beside their peers", description=_bench.__doc__)
    _by_name(timing.add_argument("models", nargs="*", default=["googlenet"], metavar="MODEL", help="as in `inceptionzoo list`"))
    timing.add_argument("--peers", action="store_true", help="also torchvision, timm, ONNX Runtime, OpenVINO, where installed")
    timing.add_argument("--train", action="store_const", const="training", dest="job", help="time steps of training")
    timing.add_argument("--load", action="store_const", const="loading", dest="job", help="time the making of models")
    timing.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="images at a time")
    timing.add_argument("--size", type=int, help="side of the images in pixels, the model's own where nothing is said")
    timing.add_argument("--rounds", type=int, default=9, help="how often each is timed; the median is shown")
    timing.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    timing.add_argument("--precision", choices=tuple(PRECISIONS), default="fp32", help="what it computes in")
    timing.add_argument("--device", help="cpu, cuda, ...")
    timing.add_argument("--plot", metavar="FILE", help="also draw a picture")
    timing.set_defaults(run=_bench, job="inference")
    return parser


def _by_name(argument: argparse.Action) -> None:
    """Let a shell complete the argument by the models' names."""
    argument.completer = lambda **_: list_models()  # type: ignore[attr-defined]  # argcomplete's, which argparse does not know


def _complete(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what may come next, where argcomplete is installed, and exit."""
    try:
        from argcomplete import autocomplete
    except ImportError:
        return
    autocomplete(parser)


def _bench(asked: argparse.Namespace) -> dict[str, Any]:
    """Time the inference of models: as they are, fused, compiled; with --peers by everything else installed.

    --train times a step of training and --load the making of a model, both with the memory that they take.

    Every way of running them takes its turn in every round. Outputs are compared; no ratio is given on a busy machine.
    """
    if asked.plot:
        check_choice("the ending of --plot", Path(asked.plot).suffix, (".png", ".pdf", ".svg"))
    given = ("job", "size", "rounds", "precision", "device")
    options = {"with_peers": asked.peers, "compiled": not asked.no_compile, **{name: getattr(asked, name) for name in given}}
    report = bench(asked.models, batches=asked.batch, **options)
    if asked.plot:
        report.plot(asked.plot)
    if not asked.json:
        print(report)
    return report.to_json()


def _list(asked: argparse.Namespace) -> list[str]:
    """List the models, or with --pretrained the published weights, whose names match a pattern."""
    names = list_models(asked.pattern, pretrained=asked.pretrained)
    if not asked.json:
        print("\n".join(names) or f"no model matches {asked.pattern!r}")
    return names


def _info(asked: argparse.Namespace) -> dict[str, Any]:
    """Show a model as its paper's table, with its cost, its smallest input and its published weights."""
    info = model_info(asked.name)
    if not asked.json:
        summary(info.name)
        print(f"\n{info.about}\n{info.paper}\nsmallest input: {info.min_input_size} px")
        for tag, row in info.weights.items():
            reported = f"top-1 {row.top1:.3f} % reported" if row.top1 else row.note or "features"
            print(f"{info.name}.{tag}: {reported}, {row.license}, {row.url}")
    return asdict(info)


def _draw(asked: argparse.Namespace) -> dict[str, Any]:
    """Draw a model from its table: its stages, each form of block, its auxiliary heads."""
    draw(asked.name, asked.path, detail=asked.detail)
    if not asked.json:
        print(f"written: {asked.path}")
    return {"name": asked.name, "path": asked.path}


def _convert(asked: argparse.Namespace) -> dict[str, Any]:
    """Make a .safetensors file of this library of one of another's. Nothing of the source is ever run."""
    report = convert(asked.source, asked.path, architecture=asked.architecture, class_names=asked.class_names)
    if not asked.json:
        print(f"{report}\nwritten: {asked.path}")
    return asdict(report)


def _verify(asked: argparse.Namespace) -> dict[str, Any]:
    """Check a file: its format, its digest where it has one, and every name, shape and value by loading it into its model.

    Of a file that does not say which model it holds, and without --architecture, the values alone are checked.
    """
    source = read_weights(asked.path)
    model: Net | None = None
    if asked.architecture:
        model = create_model(asked.architecture, weights=source)
    elif is_reference(asked.path):
        model = create_model(asked.path)
    elif source.metadata is not None:
        model = build_from_metadata(source)
    if model is None and (faults := find_invalid_values(source.tensors)):
        raise MismatchError(f"{asked.path}: {'; '.join(faults[:3])}")
    found = {
        "path": asked.path,
        "tensors": len(source.tensors),
        "digest": "none" if source.metadata is None else "right",
        "architecture": model.entry.name
        if model is not None and model.entry
        else "not said; pass --architecture to check names",
        "layout": model.report.layout if model is not None and model.report is not None else "",
    }
    if not asked.json:
        print("\n".join(f"{key}: {value}" for key, value in found.items() if value))
    return found
