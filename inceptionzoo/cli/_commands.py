"""The commands. Each prints its result, unless --json is given, and returns it as plain values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..bench import bench
from ..errors import FileError, MismatchError, check_choice
from ..inference import clear_tuning_cache, tuning_cache_bytes, tuning_cache_folder
from ..nn import Net
from ..train import estimate_memory
from ..weights import WeightSource, find_invalid_values, read_weights
from ..weights.download import is_reference
from ..zoo import ModelInfo, build_from_metadata, convert, create_model, draw, list_models, model_info, summary
from ._checks import check_target_folder
from ._model import is_model_folder
from ._table import table_lines
from ._train_parser import BATCH


def run_list(options: argparse.Namespace) -> list[Any]:
    """List the models whose names match a pattern, or, with --pretrained, their published weights.

    --long adds what each costs: parameters, multiply-adds for one image, and the size of that image.
    """
    names = list_models(options.pattern, pretrained=options.pretrained)
    if not names:
        kind = "published weights match" if options.pretrained else "model matches"
        print(f"no {kind} {options.pattern!r}; names are in lower case, and * stands for any text", file=sys.stderr)
    if not options.long:
        if names and not options.json:
            print("\n".join(names))
        return names
    infos = [model_info(name) for name in names]
    if infos and not options.json:
        print("\n".join(_cost_table(infos)))
    return [asdict(info) for info in infos]


def _cost_table(infos: Sequence[ModelInfo]) -> list[str]:
    """Return the lines of a table of the models' costs."""
    rows = [("model", "parameters", "multiply-adds", "image")]
    for info in infos:
        bound = "" if info.complete else ">= "
        size = "x".join(map(str, info.input_size[1:]))
        rows.append((info.name, f"{bound}{info.params:,}", f"{bound}{info.macs / 1e6:,.0f} M", f"{size} px"))
    return table_lines(rows)


def run_info(options: argparse.Namespace) -> dict[str, Any]:
    """Show a model as a table, like the one in its paper, with its cost, smallest input and published weights.

    For a file of weights or a repository, show the model in it: its classes, preprocessing, arguments and metrics.
    """
    if is_reference(options.name) or Path(options.name).is_file():
        return _file_info(options.name, options)
    if is_model_folder(options.name):
        return _file_info(f"local-dir:{options.name}", options)
    info = model_info(options.name)
    if not options.json:
        summary(info.name)
        name = info.name.partition(".")[0]
        print(f"\n{info.about}\n{info.paper}\nsmallest input: {info.min_input_size} px")
        if info.complete:
            print(_describe_memory(create_model(info.name, device="meta")))
        for tag, weights in info.weights.items():
            accuracy = f"top-1 {weights.top1:.3f} % reported" if weights.top1 else weights.note or "features"
            print(f"{name}.{tag}: {accuracy}, {weights.license}, {weights.url}")
    return asdict(info)


def _describe_memory(model: Net) -> str:
    """Return what the weights of a model, and training it, need."""
    need = estimate_memory(model, BATCH)
    weights, total = need.weights / 2**20, need.total / 2**20
    return f"memory: weights {weights:,.0f} MiB; a training step of {BATCH} images about {total:,.0f} MiB"


def _file_info(source_name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Show the model in a file or a repository that describes it."""
    source = read_weights(source_name)
    model = _load(None, source_name, source)
    if model is None:
        remedy = f"`inceptionzoo verify {options.name} --architecture NAME` reads it as the model NAME"
        raise FileError(f"{options.name} does not say which model it holds; {remedy}")
    metrics = dict(source.metadata.metrics) if source.metadata else {}
    result = {**_describe(model), "arguments": dict(model.arguments), "metrics": metrics}
    if not options.json:
        summary(model)
        print()
        _print_pairs(result)
    return {"path": options.name, **result}


def _describe(model: Net) -> dict[str, Any]:
    """Return what a model says about itself, as plain values."""
    return {
        "architecture": model.entry.name if model.entry else "a network without a name",
        "num_classes": model.num_classes,
        "class_names": list(model.class_names or ()),
        "preprocessing": model.data.to_json(),
    }


def _print_pairs(values: Mapping[str, Any]) -> None:
    """Print a line for each value that is not empty."""
    for key, value in values.items():
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        elif isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items())
        if value != "":
            print(f"{key}: {value}")


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

    Show its model, class names and preprocessing. Names and shapes are checked by loading the weights into their model. If
    the file does not name its model and --architecture is not given, only the values are checked.
    """
    source = read_weights(options.path)
    model = _load(options.architecture, options.path, source)
    if model is None and (faults := find_invalid_values(source.tensors)):
        raise MismatchError(f"{options.path}: {'; '.join(faults[:3])}")
    result: dict[str, Any] = {
        "path": options.path,
        "tensors": len(source.tensors),
        "digest": "none" if source.metadata is None else "matches the file",
        "layout": model.report.layout if model is not None and model.report is not None else "",
        "architecture": "unknown; pass --architecture to check names",
    }
    if model is not None:
        result |= _describe(model)
    if not options.json:
        _print_pairs(result)
    return result


def _load(architecture: str | None, path: str, source: WeightSource) -> Net | None:
    """Return the model with these weights, or None if nothing says which model it is."""
    if architecture:
        return create_model(architecture, weights=source)
    if is_reference(path):
        return create_model(path)
    return None if source.metadata is None else build_from_metadata(source)


def run_bench(options: argparse.Namespace) -> dict[str, Any]:
    """Time the inference of models: plain, fused and compiled. --peers adds other libraries that are installed.

    --train times a training step and --load the creation of a model. Both also measure memory. --start times whole processes,
    --layers each layer of the fused model.

    The candidates are timed in turn, once in each round, and their outputs are compared. If the machine is busy, no ratios
    are reported.
    """
    if options.plot:
        check_choice("the ending of --plot", Path(options.plot).suffix, (".png", ".pdf", ".svg"))
        check_target_folder("--plot", options.plot)  # before minutes of measurements
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
        int8=options.int8,
    )
    if not options.json:
        print(timings)
    if options.plot:
        timings.plot(options.plot)
    return timings.to_json()


def run_cache(options: argparse.Namespace) -> dict[str, Any]:
    """Show where `fuse` keeps results of tuning and compiled kernels, and how many bytes they take; --clear removes them."""
    folder, size = tuning_cache_folder(), clear_tuning_cache() if options.clear else tuning_cache_bytes()
    if not options.json:
        print(f"{folder}: {size:,} bytes{' removed' if options.clear else ''}")
    return {"folder": str(folder), "bytes": size, "cleared": options.clear}
