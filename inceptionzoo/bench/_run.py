"""bench: time models of this library, and the same models in other libraries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch

from ..errors import ArgumentError, check_choice, check_int
from ..nn import Net, check_device, warn_if_emulated
from ..weights.download import is_reference
from ..zoo import check_takes_images, create_model, find_entry, load_model
from ._int8 import find_images
from ._layers import check_layers
from ._machine import background_load, describe_machine
from ._rows import ROWS, Case, Sides
from ._runners import PRECISIONS
from ._timing import gemm_peak
from ._timings import Row, Timings

CPU_JOBS = "loading", "start", "layers"
OWN_BATCH = {"loading": (0,), "start": (1,)}  # jobs whose batch size is not the user's


def bench(
    names: str | Sequence[str] = ("googlenet",),
    *,
    batches: Sequence[int] = (1, 8),
    size: int | None = None,
    rounds: int = 9,
    job: str = "inference",
    with_peers: bool = False,
    compiled: bool = True,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str | torch.device | None = None,
    int8: str | os.PathLike[str] | None = None,
) -> Timings:
    """Time models, and with `with_peers` the same models in other installed libraries. The result can be printed or plotted.

    All candidates are timed once in each round, so that a disturbance of the machine affects them alike. The ratios are
    computed for each round. If other processes keep the machine busy, there are no ratios.

    - `names`: one model or several, with random weights; or .safetensors files that describe their model, folders of
      `save_pretrained`, and "hf-hub:OWNER/NAME".
    - `batches`: the batch sizes.
    - `size`: the side of the images in pixels, the length of signals, or the height and width of clips; by default the model's.
    - `job`: "inference"; "training", a step of SGD without auxiliary heads; "loading", the creation of a model with
      random weights and from files; "start", a whole process that imports a library, loads a file and predicts one image; or
      "layers", each layer of the fused network with its implementation, as tuning chose it, which needs llvmlite.
      Training and loading also measure peak memory, each candidate in a subprocess, except those that are compiled.
    - `compiled`: also time `torch.compile`.
    - `precision` "bf16": bfloat16 weights and images in inference, with errors relative to float32; autocast in training.
      ONNX Runtime and OpenVINO are left out. A processor without bf16 instructions emulates them; a warning says so.
    - `int8`: a folder of images. With peers, inference is also timed in the int8 forms of ONNX Runtime and OpenVINO (which
      needs nncf). Every other image calibrates them; the rest shows how often each runner's label is that of the model.

    The times are divided by those of a reference: in inference this library's fastest form, in training the plain model, in
    loading this library with the same file or with random weights, for layers the sum of all.

    Raises:
        UnknownModelError: no model has one of the names.
        ArgumentError: another argument is invalid.
        ZooError: a file of weights or an image cannot be read.
    """
    if isinstance(names, str):
        names = (names,)
    target = _check(names, batches, size, rounds, job, precision, device)
    if job == "layers" and with_peers:
        raise ArgumentError("with_peers=True has no effect on layers, which are those of the fused model; leave it out")
    if int8 is not None and (job, precision, with_peers, target.type) != ("inference", "fp32", True, "cpu"):
        needs = "with_peers=True, job='inference', precision='fp32' and the CPU"
        raise ArgumentError(f"int8={os.fspath(int8)!r} needs {needs}")
    photos = [] if int8 is None else find_images(int8, max(batches))
    warn_if_emulated(precision, target, stacklevel=3)  # the call of bench
    for name in names:  # before minutes of measurements
        model = _build(name, "meta")
        if job == "layers":
            check_layers(model)
        if photos:
            check_takes_images(model)
    rows: list[Row] = []
    gemm, loads = gemm_peak(target), [background_load()]
    for name in names:
        model = _build(name).eval().to(target)
        for batch in OWN_BATCH.get(job, tuple(batches)):
            case = Case(name, model, _sides(model, size), batch, rounds, gemm, precision, with_peers, compiled, photos)
            rows += ROWS[job](case)
            loads.append(background_load())
    machine = describe_machine(target, max(loads))
    if machine.busy:
        rows = [replace(row, ratio=None) for row in rows]
    return Timings(machine, gemm, rounds, precision, rows)


def _build(name: str, device: str = "cpu") -> Net:
    """Return the model of a file, folder or repository, or of a registry name with random weights, on `device`."""
    if is_reference(name):
        model = create_model(name)
    elif os.path.isdir(name):
        model = create_model(f"local-dir:{name}")
    elif name.endswith(".safetensors") or os.sep in name:
        model = load_model(name)
    else:
        return create_model(find_entry(name).name, device=device)
    if model.entry is None:
        raise ArgumentError(f"{name} holds a network without a name, which bench cannot build again; see register_model")
    return model


def _check(
    names: Sequence[str],
    batches: Sequence[int],
    size: int | None,
    rounds: int,
    job: str,
    precision: str,
    device: str | torch.device | None,
) -> torch.device:
    """Check the arguments of `bench` and return the device."""
    check_choice("job", job, ROWS)
    check_choice("precision", precision, PRECISIONS)
    check_int("rounds", rounds, 1)
    if size is not None:
        check_int("size", size, 1)
    for argument, values in (("names", names), ("batches", batches)):
        if not isinstance(values, Sequence) or not values:
            raise ArgumentError(f"{argument}={values!r} must be a list of one or more")
    for batch in batches:
        check_int("batches", batch, 1)
    target = check_device(device) or torch.device("cpu")
    if job in CPU_JOBS and target.type != "cpu":
        raise ArgumentError(f"device={device!r} has no effect on {job}, which is on the CPU; leave it out")
    if job in CPU_JOBS and precision != "fp32":
        raise ArgumentError(f"precision={precision!r} has no effect on {job}, which is in float32; leave it out")
    if target.type == "meta":
        raise ArgumentError(f"device={device!r} computes nothing; use 'cpu' or a GPU")
    return target


def _sides(model: Net, size: int | None) -> Sides:
    """Return the sides of the inputs; `size` leaves the depth of a volume or clip as it is."""
    sides = model.data.size
    return sides if size is None else (*sides[:-2], size, size)[-len(sides) :]
