"""The rows of a benchmark: a generator for each job."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ..nn import Net
from ..spec import Shape, as_size, network_cost
from ._int8 import int8_runners, label_agreement, read_batches
from ._layers import time_layers
from ._libraries import entry_name, own_options
from ._runners import OWN_RUNNERS, PRECISIONS, inference_runners, loading_runners, training_networks, training_step
from ._start import run_script, start_scripts
from ._timing import quartiles, relative_error, time_interleaved, time_ratio
from ._timings import Row
from .memory import measure_in_subprocess

Sides = tuple[int, ...]  # of an image, signal or clip


@dataclass(frozen=True, slots=True)
class Case:
    """A model and the arguments of `bench` for it.

    `name` is the caller's name or path of it. `gemm` is the rate of a matrix product in multiply-adds per second. `photos` are
    the paths of the images for int8.
    """

    name: str
    model: Net
    sides: Sides
    batch: int
    rounds: int
    gemm: float
    precision: str
    with_peers: bool
    compiled: bool
    photos: Sequence[str]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def macs(self) -> int:
        """The multiply-adds of a batch."""
        return (
            self.batch * network_cost(self.model.network, Shape(self.model.in_chans, *self.sides), self.model.num_classes).macs
        )

    def row(self, runner: str, seconds: list[float], reference: list[float]) -> Row:
        low, median, high = (1000 * value for value in quartiles(seconds))
        ratio = time_ratio(seconds, reference)
        return Row(self.name, as_size(self.sides), self.batch, runner, median, low, high, ratio)

    def memory(self, runner: str, **arguments: object) -> float | None:
        name, options, threads = entry_name(self.model), own_options(self.model), torch.get_num_threads()
        return measure_in_subprocess(
            model=name, options=options, runner=runner, threads=threads, with_peers=self.with_peers, **arguments
        )


def inference_rows(case: Case) -> Iterator[Row]:
    """Yield a row for each runner on a batch of images."""
    model, shape = case.model, (case.batch, case.model.in_chans, *case.sides)
    calibration, comparison = read_batches(model, case.photos, case.batch, case.sides) if case.photos else ([], [])
    images = comparison[0] if comparison else torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(case.device)
    with torch.inference_mode():
        expected = model(images)
    images = images.to(PRECISIONS[case.precision])
    runners = inference_runners(model, images, with_peers=case.with_peers, compiled=case.compiled)
    labels: dict[str, float] = {}
    if comparison:
        runners |= dict(int8_runners(model, calibration))
        labels = label_agreement(runners, model, comparison)
    with torch.inference_mode():
        errors = {name: relative_error(run(images), expected) for name, run in runners.items()}
        times = time_interleaved({name: partial(run, images) for name, run in runners.items()}, case.rounds, case.device)
    fastest = min((name for name in OWN_RUNNERS if name in times), key=lambda name: statistics.median(times[name]))
    macs = case.macs
    for name, seconds in times.items():
        share = macs / statistics.median(seconds) / case.gemm
        yield replace(case.row(name, seconds, times[fastest]), apart=errors[name], share=share, labels=labels.get(name))


def training_rows(case: Case) -> Iterator[Row]:
    """Yield a row for the training step of each network."""
    shape = [case.batch, case.model.in_chans, *case.sides]
    images = torch.randn(shape, device=case.device)
    networks = training_networks(case.model, with_peers=case.with_peers, compiled=case.compiled)
    steps = {name: training_step(build(), images, case.precision) for name, build in networks.items()}
    times = time_interleaved(steps, case.rounds, case.device)
    for name, seconds in times.items():
        memory = None
        if case.device.type == "cpu" and not name.endswith("compiled"):  # compiling itself takes memory
            memory = case.memory(name, shape=shape, precision=case.precision)
        yield replace(case.row(name, seconds, times["inceptionzoo"]), memory=memory)


def loading_rows(case: Case) -> Iterator[Row]:
    """Yield a row for each way to create the model."""
    images = torch.randn(1, case.model.in_chans, *case.sides)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        runners = loading_runners(case.model, Path(folder), with_peers=case.with_peers)
        expected = case.model(images)
        errors = {
            name: None if name.endswith("random") else relative_error(load().eval()(images), expected)
            for name, load in runners.items()
        }
        times = time_interleaved(runners, case.rounds, torch.device("cpu"))
        for name, seconds in times.items():
            reference = times[_loading_reference(name, times)]
            yield replace(case.row(name, seconds, reference), apart=errors[name], memory=case.memory(name, folder=folder))


def _loading_reference(name: str, runners: dict[str, list[float]]) -> str:
    """Return the runner of this library that does the same as `name`, or `name` if there is none."""
    library, _, source = name.partition(", ")
    reference = f"inceptionzoo, {library}'s file" if source.endswith("file") else f"inceptionzoo, {source}"
    return reference if reference in runners else name


def start_rows(case: Case) -> Iterator[Row]:
    """Yield a row for a process of each library. Each runs once before it is timed, so that its files are in memory."""
    images = torch.randn(1, case.model.in_chans, *case.sides)
    with torch.inference_mode():
        expected = case.model(images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scripts = start_scripts(case.model, images, folder, with_peers=case.with_peers)
        errors = {name: relative_error(run_script(script, folder)[1], expected) for name, script in scripts.items()}
        timed = [[run_script(script, folder)[0] for script in scripts.values()] for _ in range(case.rounds)]
    times = dict(zip(scripts, map(list, zip(*timed, strict=True)), strict=True))
    for name, seconds in times.items():
        yield replace(case.row(name, seconds, times["inceptionzoo"]), apart=errors[name])


def layer_rows(case: Case) -> Iterator[Row]:
    """Yield a row for all layers of the fused network together, and one for each."""
    layers = time_layers(case.model, torch.randn(case.batch, case.model.in_chans, *case.sides), case.rounds)
    total = [sum(seconds) for seconds in zip(*(seconds for _, seconds in layers), strict=True)]
    runs = [("all layers", sum(layer.macs for layer, _ in layers), total)]
    runs += [(f"{layer.name}: {layer.implementation}", layer.macs, seconds) for layer, seconds in layers]
    for name, macs, seconds in runs:
        share = macs / statistics.median(seconds) / case.gemm if macs else None
        yield replace(case.row(name, seconds, total), share=share)


ROWS: dict[str, Callable[[Case], Iterator[Row]]] = {  # by job
    "inference": inference_rows,
    "training": training_rows,
    "loading": loading_rows,
    "start": start_rows,
    "layers": layer_rows,
}
