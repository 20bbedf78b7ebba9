"""Measure models beside their peers."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch

from ..errors import ArgumentError, check_choice, check_int
from ..nn import Net, check_device
from ..spec import Shape, network_cost
from ..zoo import create_model, find_entry
from ._jobs import PRECISIONS, loads, train_networks, train_step
from ._measure import apart, gemm_peak, load, machine, quartiles, ratio, take_turns
from ._peers import OURS, Call, ours, peers
from ._timings import Row, Timings
from .memory import in_its_own_process

PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "openvino", "llvmlite")


def bench(
    names: Sequence[str] = ("googlenet",),
    *,
    batches: Sequence[int] = (1, 8),
    size: int | None = None,
    rounds: int = 9,
    job: str = "inference",
    with_peers: bool = False,
    compiled: bool = True,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str | torch.device | None = None,
) -> Timings:
    """Time a job with models, ours and with `with_peers` the peers', call by call in turn.

    `job` is "inference"; "training", a step of SGD without auxiliary heads; or "loading", making the model at random and of
    files, for which there are no batches. The last two say how much memory they take, each in a process of its own.
    `size` is the side of the images in pixels, the model's own where it is None. `precision` "bf16" is that of weights and
    images in inference, whose outputs are held against float32's, and autocast's in training; ONNX's runtimes are left out.
    Ratios are to our fastest form, round by round; of loading, to our way with the same file.

    Raises:
        ArgumentError: an argument lies outside its range, or a model is unknown.
    """
    check_choice("job", job, ("inference", "training", "loading"))
    check_choice("precision", precision, PRECISIONS)
    check_int("rounds", rounds, 1)
    if size is not None:
        check_int("size", size, 1)
    for batch in batches:
        check_int("batches", batch, 1)
    entries = [find_entry(name) for name in names]
    place = check_device(device) or torch.device("cpu")
    if job == "loading" and place.type != "cpu":
        raise ArgumentError(f"device={device!r} has no effect on loading, which is to the CPU; leave it out")
    if job == "loading" and precision != "fp32":
        raise ArgumentError(f"precision={precision!r} has no effect on loading, which is in float32; leave it out")
    rows: list[Row] = []
    peak, others = gemm_peak(place), [load()]
    for entry in entries:
        model = create_model(entry.name).eval().to(place)
        side = size or model.data.input_size[1]
        for batch in batches if job != "loading" else (0,):
            if job == "inference":
                rows += _inference(model, side, batch, peak, rounds, precision, with_peers=with_peers, compiled=compiled)
            elif job == "training":
                rows += _training(model, side, batch, rounds, precision, with_peers=with_peers)
            else:
                rows += _loading(model, side, rounds, with_peers=with_peers)
            others.append(load())
    found = {name: number for name in PACKAGES if (number := _version(name))}
    timings = Timings(machine(place, max(others), found), peak, rounds, precision, rows)
    if timings.machine.busy:
        timings.rows[:] = [replace(row, ratio=None) for row in rows]
    return timings


def _inference(
    model: Net, side: int, batch: int, peak: float, rounds: int, precision: str, *, with_peers: bool, compiled: bool
) -> Iterator[Row]:
    """Yield a row for each way of running the model on a batch of images."""
    place = next(model.parameters()).device
    images = torch.randn(batch, model.in_chans, side, side, generator=torch.Generator().manual_seed(0)).to(place)
    with torch.inference_mode():
        expected = model(images)
    images = images.to(PRECISIONS[precision])
    forms: dict[str, Call] = dict(ours(model, images.dtype, compiled=compiled))
    if with_peers:
        forms |= dict(peers(model, images, compiled=compiled))
    with torch.inference_mode():
        differences = {name: apart(call(images), expected) for name, call in forms.items()}
        times = take_turns({name: partial(call, images) for name, call in forms.items()}, rounds, place)
    best = min((name for name in OURS if name in times), key=lambda name: statistics.median(times[name]))
    assert model.entry is not None
    work = network_cost(model.network, Shape(model.in_chans, side, side), model.num_classes).macs * batch
    for name, seconds in times.items():
        share = work / statistics.median(seconds) / peak
        yield replace(_row(model, side, batch, name, seconds, times[best]), apart=differences[name], share=share)


def _row(model: Net, side: int, batch: int, name: str, seconds: list[float], ours: list[float]) -> Row:
    assert model.entry is not None
    low, median, high = (1000 * value for value in quartiles(seconds))
    return Row(model.entry.name, side, batch, name, median, low, high, ratio(seconds, ours))


def _training(model: Net, side: int, batch: int, rounds: int, precision: str, *, with_peers: bool) -> Iterator[Row]:
    """Yield a row for each library's step of training."""
    assert model.entry is not None
    place, shape = next(model.parameters()).device, [batch, model.in_chans, side, side]
    networks = train_networks(model, peers=with_peers)
    images = torch.randn(shape, device=place)
    times = take_turns({name: train_step(build(), images, precision) for name, build in networks.items()}, rounds, place)
    for name, seconds in times.items():
        asked = {"peers": with_peers, "shape": shape, "precision": precision}
        memory = _memory(model, name, **asked) if place.type == "cpu" else None
        yield replace(_row(model, side, batch, name, seconds, times["inceptionzoo"]), memory=memory)


def _loading(model: Net, side: int, rounds: int, *, with_peers: bool) -> Iterator[Row]:
    """Yield a row for each way of making the model."""
    assert model.entry is not None
    images = torch.randn(1, model.in_chans, side, side)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        jobs = loads(model, Path(folder), peers=with_peers)
        expected = model(images)
        found = {name: None if "random" in name else apart(job().eval()(images), expected) for name, job in jobs.items()}
        times = take_turns(jobs, rounds, torch.device("cpu"))
        for name, seconds in times.items():
            library, _, what = name.partition(", ")
            ours = times.get(f"inceptionzoo, {library}'s file" if "file" in what else f"inceptionzoo, {what}", seconds)
            memory = _memory(model, name, peers=with_peers, folder=folder)
            yield replace(_row(model, side, 0, name, seconds, ours), apart=found[name], memory=memory)


def _memory(model: Net, runner: str, **asked: object) -> float | None:
    assert model.entry is not None
    return in_its_own_process(model=model.entry.name, runner=runner, threads=torch.get_num_threads(), **asked)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
