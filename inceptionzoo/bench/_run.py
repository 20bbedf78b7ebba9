"""bench: time models of this library, and the same models in other libraries."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from ..errors import ArgumentError, check_choice, check_int
from ..nn import Net, check_device, warn_if_emulated
from ..spec import Shape, as_size, network_cost
from ..zoo import create_model, find_entry
from ._libraries import entry_name
from ._machine import background_load, describe_machine
from ._runners import OWN_RUNNERS, PRECISIONS, inference_runners, loading_runners, training_networks, training_step
from ._start import run_script, start_scripts
from ._timing import gemm_peak, quartiles, relative_error, time_interleaved, time_ratio
from ._timings import Row, Timings
from .memory import measure_in_subprocess

Sides = tuple[int, ...]  # of an image, signal or clip


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
    """Time models, and with `with_peers` the same models in other installed libraries. The result can be printed or plotted.

    All candidates are timed once in each round, so that a disturbance of the machine affects them alike. The ratios are
    computed for each round. If other processes keep the machine busy, there are no ratios.

    - `names`: the models. `batches`: the batch sizes. `size`: the side of the images in pixels, the length of signals, or the
      height and width of clips; by default the model's own.
    - `job`: "inference"; "training", a step of SGD without auxiliary heads; "loading", the creation of a model with
      random weights and from files; or "start", a whole process that imports a library, loads a file and predicts one image.
      Training and loading also measure peak memory, each candidate in a subprocess, except those that are compiled.
    - `compiled`: also time `torch.compile`.
    - `precision` "bf16": bfloat16 weights and images in inference, with errors relative to float32; autocast in training.
      ONNX Runtime and OpenVINO are left out. A processor without bf16 instructions emulates them; a warning says so.

    The times are divided by those of a reference: in inference this library's fastest form, in training the plain model, in
    loading this library with the same file or with random weights.

    Raises:
        UnknownModelError: no model has one of the names.
        ArgumentError: another argument is invalid.
    """
    target = _check(batches, size, rounds, job, precision, device)
    warn_if_emulated(precision, target, stacklevel=3)  # the call of bench
    entries = [find_entry(name) for name in names]
    rows: list[Row] = []
    gemm, loads = gemm_peak(target), [background_load()]
    for entry in entries:
        model = create_model(entry.name).eval().to(target)
        sides = _sides(model, size)
        for batch in {"loading": (0,), "start": (1,)}.get(job, tuple(batches)):
            if job == "inference":
                rows += _inference(model, sides, batch, gemm, rounds, precision, with_peers=with_peers, compiled=compiled)
            elif job == "training":
                rows += _training(model, sides, batch, rounds, precision, with_peers=with_peers, compiled=compiled)
            elif job == "loading":
                rows += _loading(model, sides, rounds, with_peers=with_peers)
            else:
                rows += _start(model, sides, rounds, with_peers=with_peers)
            loads.append(background_load())
    machine = describe_machine(target, max(loads))
    if machine.busy:
        rows = [replace(row, ratio=None) for row in rows]
    return Timings(machine, gemm, rounds, precision, rows)


def _check(
    batches: Sequence[int], size: int | None, rounds: int, job: str, precision: str, device: str | torch.device | None
) -> torch.device:
    """Check the arguments of `bench` and return the device."""
    check_choice("job", job, ("inference", "training", "loading", "start"))
    check_choice("precision", precision, PRECISIONS)
    check_int("rounds", rounds, 1)
    if size is not None:
        check_int("size", size, 1)
    for batch in batches:
        check_int("batches", batch, 1)
    target = check_device(device) or torch.device("cpu")
    if job in ("loading", "start") and target.type != "cpu":
        raise ArgumentError(f"device={device!r} has no effect on {job}, which is on the CPU; leave it out")
    if job in ("loading", "start") and precision != "fp32":
        raise ArgumentError(f"precision={precision!r} has no effect on {job}, which is in float32; leave it out")
    return target


def _sides(model: Net, size: int | None) -> Sides:
    """Return the sides of the inputs; `size` leaves the depth of a volume or clip as it is."""
    sides = model.data.size
    return sides if size is None else (*sides[:-2], size, size)[-len(sides) :]


def _inference(
    model: Net, sides: Sides, batch: int, gemm: float, rounds: int, precision: str, *, with_peers: bool, compiled: bool
) -> Iterator[Row]:
    """Yield a row for each runner on a batch of images. `gemm` is the rate of a matrix product in multiply-adds per second."""
    device = next(model.parameters()).device
    images = torch.randn(batch, model.in_chans, *sides, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        expected = model(images)
    images = images.to(PRECISIONS[precision])
    runners = inference_runners(model, images, with_peers=with_peers, compiled=compiled)
    with torch.inference_mode():
        errors = {name: relative_error(run(images), expected) for name, run in runners.items()}
        times = time_interleaved({name: partial(run, images) for name, run in runners.items()}, rounds, device)
    fastest = min((name for name in OWN_RUNNERS if name in times), key=lambda name: statistics.median(times[name]))
    macs = network_cost(model.network, Shape(model.in_chans, *sides), model.num_classes).macs * batch
    for name, seconds in times.items():
        row = _row(model, sides, batch, name, seconds, times[fastest])
        yield replace(row, apart=errors[name], share=macs / statistics.median(seconds) / gemm)


def _training(
    model: Net, sides: Sides, batch: int, rounds: int, precision: str, *, with_peers: bool, compiled: bool
) -> Iterator[Row]:
    """Yield a row for the training step of each network."""
    device, shape = next(model.parameters()).device, [batch, model.in_chans, *sides]
    images = torch.randn(shape, device=device)
    networks = training_networks(model, with_peers=with_peers, compiled=compiled)
    steps = {name: training_step(build(), images, precision) for name, build in networks.items()}
    times = time_interleaved(steps, rounds, device)
    for name, seconds in times.items():
        memory = None
        if device.type == "cpu" and not name.endswith("compiled"):  # compiling itself takes memory
            memory = _memory(model, name, with_peers=with_peers, shape=shape, precision=precision)
        yield replace(_row(model, sides, batch, name, seconds, times["inceptionzoo"]), memory=memory)


def _loading(model: Net, sides: Sides, rounds: int, *, with_peers: bool) -> Iterator[Row]:
    """Yield a row for each way to create the model."""
    images = torch.randn(1, model.in_chans, *sides)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        runners = loading_runners(model, Path(folder), with_peers=with_peers)
        expected = model(images)
        errors = {
            name: None if name.endswith("random") else relative_error(load().eval()(images), expected)
            for name, load in runners.items()
        }
        times = time_interleaved(runners, rounds, torch.device("cpu"))
        for name, seconds in times.items():
            reference = times[_loading_reference(name, times)]
            memory = _memory(model, name, with_peers=with_peers, folder=folder)
            yield replace(_row(model, sides, 0, name, seconds, reference), apart=errors[name], memory=memory)


def _start(model: Net, sides: Sides, rounds: int, *, with_peers: bool) -> Iterator[Row]:
    """Yield a row for a process of each library. Each runs once before it is timed, so that its files are in memory."""
    images = torch.randn(1, model.in_chans, *sides)
    with torch.inference_mode():
        expected = model(images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scripts = start_scripts(model, images, folder, with_peers=with_peers)
        errors = {name: relative_error(run_script(script, folder)[1], expected) for name, script in scripts.items()}
        timed = [[run_script(script, folder)[0] for script in scripts.values()] for _ in range(rounds)]
    times = dict(zip(scripts, map(list, zip(*timed, strict=True)), strict=True))
    for name, seconds in times.items():
        yield replace(_row(model, sides, 1, name, seconds, times["inceptionzoo"]), apart=errors[name])


def _loading_reference(name: str, runners: dict[str, list[float]]) -> str:
    """Return the runner of this library that does the same as `name`, or `name` if there is none."""
    library, _, source = name.partition(", ")
    reference = f"inceptionzoo, {library}'s file" if source.endswith("file") else f"inceptionzoo, {source}"
    return reference if reference in runners else name


def _row(model: Net, sides: Sides, batch: int, runner: str, seconds: list[float], reference: list[float]) -> Row:
    low, median, high = (1000 * value for value in quartiles(seconds))
    return Row(entry_name(model), as_size(sides), batch, runner, median, low, high, time_ratio(seconds, reference))


def _memory(model: Net, runner: str, **arguments: object) -> float | None:
    return measure_in_subprocess(model=entry_name(model), runner=runner, threads=torch.get_num_threads(), **arguments)
