"""Figure 8: helpful errors for misspelled names, bad arguments, and images that are too small."""

from __future__ import annotations

import contextlib
import copy
import io
import random
import string
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from bad_values import bad_values
from figure import Figure
from hostile import tiny_model
from isolated import same_bits
from torch.utils._python_dispatch import TorchDispatchMode

import inceptionzoo as iz
from inceptionzoo.zoo._registry import REGISTRY

LETTERS = string.ascii_lowercase + string.digits + "_"
ENOUGH = 0.95
BELOW, WRONG = f"below {ENOUGH:.0%}", "another error"
HARMLESS = ("aten::detach",)  # used by `state_dict`; it allocates nothing


def single_edits(name: str) -> set[str]:
    """Return all names one edit away: a character removed, added or replaced, or two neighbours swapped."""
    cuts = [(name[:index], name[index:]) for index in range(len(name) + 1)]
    less = {left + right[1:] for left, right in cuts if right}
    swapped = {left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1}
    other = {left + letter + right[1:] for left, right in cuts if right for letter in LETTERS}
    more = {left + letter + right for left, right in cuts for letter in LETTERS}
    return less | swapped | other | more


def misspellings(sample: float | None = None) -> Figure:
    """Try every misspelling of every model's name, or a random share `sample` of them."""
    figure, names, pick = Figure("8 misspelled names", (BELOW, WRONG), ("suggested",)), iz.list_models(), random.Random(0)
    for name in names:
        edits = sorted(single_edits(name).difference(names, [""]))
        for edit in edits if sample is None else pick.sample(edits, round(sample * len(edits))):
            try:
                iz.create_model(edit)
                figure.add(WRONG, f"{edit}: accepted")
            except iz.UnknownModelError as error:
                hint = str(error).partition("did you mean")[2]
                figure.add("suggested" if repr(name) in hint else "not suggested")
            except Exception as error:
                figure.add(WRONG, f"{edit}: {error!r}")
    good, bad = figure.counts["suggested"], figure.counts["not suggested"]
    if good < ENOUGH * (good + bad):
        figure.add(BELOW, f"{good} of {good + bad}")
    return figure


class TensorCreated(BaseException):
    """A tensor was created or changed."""


class ForbidTensors(TorchDispatchMode):
    """Raises `TensorCreated` when a tensor is created or changed, on the meta device too."""

    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().partition(".")[0] in HARMLESS:
            return func(*args, **(kwargs or {}))
        raise TensorCreated(func.name())


ACCEPTED, OTHER, FIRST, CHANGED = (
    "accepted",
    "error other than ZooError",
    "a tensor was created or changed first",
    "model changed",
)
UNNAMED, UNVALUED, UNFAIR = "argument not named", "value not named", "valid arguments refused"
ALIASES = {  # other names of an argument in messages
    "source": ("weights",),
    "names": ("class_names",),
    "name": ("unknown model",),
    "indices": ("unknown stage", "index"),
    "scales": ("scale",),
}


def bad_arguments() -> Figure:
    """Try every value of `bad_values`, each with otherwise valid arguments."""
    figure = Figure("8 bad arguments", (ACCEPTED, OTHER, FIRST, CHANGED, UNNAMED, UNVALUED, UNFAIR), ("refused",))
    with tiny_model() as model, tempfile.TemporaryDirectory() as folder:
        before, registry, path = copy.deepcopy(model.state_dict()), dict(REGISTRY), Path(folder, "good.safetensors")
        iz.save_weights(model, path)
        for what, (call, table) in bad_values(model, path).items():
            _try_good(figure, what, call)
            for argument, value in ((argument, value) for argument, values in table.items() for value in values):
                model.class_names = None
                _try(figure, what, call, argument, value)
                if not same_bits(model.state_dict(), before) or model.class_names or model.training:
                    figure.add(CHANGED, f"{what}({argument}={value!r})")
                    model.eval().load_state_dict(before)
                REGISTRY.clear()
                REGISTRY.update(registry)
    return figure


def _try_good(figure: Figure, what: str, call: Callable[..., object]) -> None:
    """Call with valid arguments only, up to the first tensor."""
    try:
        with ForbidTensors(), contextlib.redirect_stdout(io.StringIO()):
            call()
    except TensorCreated:
        pass
    except Exception as error:
        figure.add(UNFAIR, f"{what}: {error!r}")


def _try(figure: Figure, what: str, call: Callable[..., object], argument: str, value: object) -> None:
    case = f"{what}({argument}={value!r:.60})"
    try:
        with ForbidTensors(), contextlib.redirect_stdout(io.StringIO()):
            call(**{argument: value})
    except iz.ZooError as error:
        figure.add("refused")
        if not any(name in str(error) for name in (argument, *ALIASES.get(argument, ()))):
            figure.add(UNNAMED, f"{case}: {error}")
        if not any(shown in str(error) for shown in _shown(value)):
            figure.add(UNVALUED, f"{case}: {error}")
    except TensorCreated as made:
        figure.add(FIRST, f"{case}: {made}")
    except Exception as error:
        figure.add(OTHER, f"{case}: {error!r}")
    else:
        figure.add(ACCEPTED, case)


def _shown(value: object) -> list[str]:
    """Return texts of which one must appear in the message: the value, a member, its type, or a tensor's shape."""
    members = [*value] if isinstance(value, list | tuple | dict) else []
    members += [*value.values()] if isinstance(value, dict) else []
    shape = [str(tuple(value.shape))] if isinstance(value, torch.Tensor) else []
    name = type(value).__name__
    return [repr(value), *map(repr, members), *shape, f"type {name}", f"is a {name}", f"is an {name}"]


def smallest_inputs(names: Iterable[str]) -> Figure:
    """Find these models' smallest images by forward passes of growing images, and compare with `min_input_size`."""
    other, silent = "another smallest side than min_input_size", "one pixel less: no error that names the smallest side"
    figure = Figure("8 smallest images", (other, silent), ("sides found",))
    for name in names:
        plain = iz.create_model(name, device="meta").to_empty(device="cpu")
        for aux in (False, True) if plain.network.aux else (False,):
            model = iz.with_aux(plain) if aux else plain
            for training in (False, True):
                case = f"{name}, {'train' if training else 'eval'}, {'with' if aux else 'without'} auxiliary heads"
                model.train(training)
                found = _smallest(model)
                figure.add("sides found")
                if found != model.min_input_size:
                    figure.add(other, f"{case}: {found}, not {model.min_input_size}")
                if not _says(model, found):
                    figure.add(silent, case)
    return figure


def _forward(model: iz.Net, side: int) -> object:
    images = torch.zeros(2, model.in_chans, side, side)
    with torch.no_grad():
        return model.forward_aux(images) if model.aux else model(images)


def _smallest(model: iz.Net) -> int:
    """Return the smallest side with which the modules run; the library's own check is disabled."""
    for side in range(1, 512):
        with patch.object(model, "_input_check"), contextlib.suppress(RuntimeError, ValueError):
            _forward(model, side)
            return side
    raise RuntimeError("no image fits")


def _says(model: iz.Net, side: int) -> bool:
    """Return whether images of one pixel less are refused with an error that names the smallest side."""
    try:
        _forward(model, side - 1)
    except iz.InputError as error:
        return f"{side - 1}x{side - 1} px" in str(error) and f"smallest side is {side} px" in str(error)
    return False
