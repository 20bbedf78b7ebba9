"""The commands. Each prints its result, unless --json is given, and returns it as plain values."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..bench import bench
from ..errors import MismatchError, check_choice
from ..nn import Net
from ..weights import WeightSource, find_invalid_values, read_weights
from ..weights.download import is_reference
from ..zoo import build_from_metadata, convert, create_model, draw, list_models, model_info, summary


def run_list(options: argparse.Namespace) -> list[str]:
    """List the models whose names match a pattern, or, with --pretrained, their published weights."""
    names = list_models(options.pattern, pretrained=options.pretrained)
    if not options.json:
        print("\n".join(names) or f"no model matches {options.pattern!r}")
    return names


def run_info(options: argparse.Namespace) -> dict[str, Any]:
    """Show a model as a table, like the one in its paper, with its cost, smallest input and published weights."""
    info = model_info(options.name)
    if not options.json:
        summary(info.name)
        print(f"\n{info.about}\n{info.paper}\nsmallest input: {info.min_input_size} px")
        for tag, weights in info.weights.items():
            accuracy = f"top-1 {weights.top1:.3f} % reported" if weights.top1 else weights.note or "features"
            print(f"{info.name}.{tag}: {accuracy}, {weights.license}, {weights.url}")
    return asdict(info)


def run_draw(options: argparse.Namespace) -> dict[str, Any]:
    """Draw a model as an SVG: its stages, blocks and auxiliary heads."""
    draw(options.name, options.path, detail=options.detail)
    if not options.json:
        print(f"written: {options.path}")
    return {"name": options.name, "path": options.path}


def run_convert(options: argparse.Namespace) -> dict[str, Any]:
    """Convert weights of another library to a .safetensors file of this library. No code in the source is executed."""
    report = convert(options.source, options.path, architecture=options.architecture, class_names=options.class_names)
    if not options.json:
        print(f"{report}\nwritten: {options.path}")
    return asdict(report)


def run_verify(options: argparse.Namespace) -> dict[str, Any]:
    """Check a weight file: its format, its digest if it has one, and every tensor's name, shape and values.

    Names and shapes are checked by loading the weights into their model. If the file does not name its model and
    --architecture is not given, only the values are checked.
    """
    source = read_weights(options.path)
    model = _load(options, source)
    if model is None and (faults := find_invalid_values(source.tensors)):
        raise MismatchError(f"{options.path}: {'; '.join(faults[:3])}")
    architecture, layout = "unknown; pass --architecture to check names", ""
    if model is not None:
        architecture = model.entry.name if model.entry else "a network without a name"
    if model is not None and model.report is not None:
        layout = model.report.layout
    result = {
        "path": options.path,
        "tensors": len(source.tensors),
        "digest": "none" if source.metadata is None else "right",
        "architecture": architecture,
        "layout": layout,
    }
    if not options.json:
        print("\n".join(f"{key}: {value}" for key, value in result.items() if value))
    return result


def _load(options: argparse.Namespace, source: WeightSource) -> Net | None:
    """Return the model with these weights, or None if nothing says which model it is."""
    if options.architecture:
        return create_model(options.architecture, weights=source)
    if is_reference(options.path):
        return create_model(options.path)
    return None if source.metadata is None else build_from_metadata(source)


def run_bench(options: argparse.Namespace) -> dict[str, Any]:
    """Time the inference of models: plain, fused and compiled. --peers adds other libraries that are installed.

    --train times a training step and --load the creation of a model. Both also measure memory.

    The candidates are timed in turn, once in each round, and their outputs are compared. If the machine is busy, no ratios
    are reported.
    """
    if options.plot:
        check_choice("the ending of --plot", Path(options.plot).suffix, (".png", ".pdf", ".svg"))
    timings = bench(
        options.models,
        batches=options.batch,
        size=options.size,
        rounds=options.rounds,
        job=options.job,
        with_peers=options.peers,
        compiled=not options.no_compile,
        precision=options.precision,
        device=options.device,
    )
    if options.plot:
        timings.plot(options.plot)
    if not options.json:
        print(timings)
    return timings.to_json()
