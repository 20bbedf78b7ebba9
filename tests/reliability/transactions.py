"""State dicts with one fault, for every registered model: each is refused, and no bit of the model changes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import torch
from figure import Figure
from isolated import ERRORS, Watch, isolated
from small import MEMORY_DISK, narrowed, registered, shaken
from torch import Tensor

import inceptionzoo as iz
from inceptionzoo.spec import NATIVE
from inceptionzoo.zoo._registry import find_entry

State = dict[Any, Any]
ZERO = ("fault accepted", "valid weights refused", "error other than ZooError", "half-modified model")


# --- faults: (which tensors it applies to, how it changes one) ------------------------------------------------------------
def _weight(key: str, value: Tensor) -> bool:
    return value.is_floating_point() and value.numel() > 1


def _variance(key: str, value: Tensor) -> bool:
    return key.endswith("running_var")


def _counter(key: str, value: Tensor) -> bool:
    return key.endswith("num_batches_tracked")


def _set(number: float, *, wide: bool = False) -> Callable[[Tensor, Random], Tensor]:
    """Return a function that sets one value in a copy of a tensor; with `wide` the copy is float64."""

    def put(value: Tensor, pick: Random) -> Tensor:
        value = value.to(torch.float64 if wide else value.dtype, copy=True)
        value.view(-1)[pick.randrange(value.numel())] = number
        return value

    return put


def _reshaped(value: Tensor, pick: Random) -> Tensor:
    one_more = torch.cat((value, value[:1]))
    return pick.choice((one_more, value[:-1], value[None], value[..., None], value[..., None, None, None], value[:0]))


SAVED = {  # faults of one tensor that a file can hold
    "shape": (_weight, _reshaped),
    "shape of a counter": (_counter, lambda value, pick: value.reshape(pick.choice(((1,), (1, 1))))),
    "integer dtype": (_weight, lambda value, pick: value.to(pick.choice((torch.int64, torch.int32, torch.uint8, torch.bool)))),
    "floating counter": (_counter, lambda value, pick: value.to(pick.choice((torch.float32, torch.float16)))),
    "complex": (_weight, lambda value, pick: value.to(pick.choice((torch.complex64, torch.complex128)))),
    "NaN": (_weight, _set(float("nan"))),
    "infinity": (_weight, lambda value, pick: _set(pick.choice((float("inf"), float("-inf"))))(value, pick)),
    "negative variance": (_variance, lambda value, pick: _set(pick.choice((-1.0, -1e-6)))(value, pick)),
    "negative counter": (_counter, _set(-1)),
    "overflow of float32": (_weight, lambda value, pick: _set(pick.choice((1e39, -1e300)), wide=True)(value, pick)),
    "overflow of float16": (_weight, lambda value, pick: _set(1e5, wide=True)(value, pick)),
    "expanded": (_weight, lambda value, pick: torch.full((1,) * pick.randrange(2), 0.5).expand(value.shape)),
    "expanded without end": (_weight, lambda value, pick: torch.ones(1).expand(2**40)),
    "no tensor": (
        _weight,
        lambda value, pick: pick.choice((None, 1.5, "x", [1.0], value.tolist(), value.numpy(), {"a": value})),
    ),
}
UNSAVED = {  # kinds of tensors that a model cannot hold; passed as a dict only
    "meta": (_weight, lambda value, pick: value.to("meta")),
    "sparse": (
        _weight,
        lambda value, pick: value.to_sparse() if pick.random() < 0.5 else torch.eye(3).to_sparse_csr(),
    ),
    "quantized": (_weight, lambda value, pick: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8)),
    "uninitialised": (_weight, lambda value, pick: torch.nn.UninitializedParameter()),
    "nested": (_weight, lambda value, pick: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])),
}


def _missing(state: State, pick: Random) -> None:
    del state[pick.choice([key for key in state if not key.endswith("num_batches_tracked")])]


def _extra(state: State, pick: Random) -> None:
    state[pick.choice(("extra.weight", "features", "head.fc", "epoch", "", "head.fc.weight_"))] = torch.ones(2)


def _odd_key(state: State, pick: Random) -> None:
    state[pick.choice((1, None, (1, 2), b"x"))] = torch.ones(2)


def _renamed(state: State, pick: Random) -> None:
    key = pick.choice([key for key in state if not key.endswith("num_batches_tracked")])
    state[key + pick.choice(("_", ".x", "\0"))] = state.pop(key)


def _swapped(state: State, pick: Random) -> None:
    one = pick.choice([key for key, value in state.items() if _weight(key, value)])
    other = pick.choice([key for key, value in state.items() if value.shape != state[one].shape and value.numel() > 1])
    state[one], state[other] = state[other], state[one]


def _other_head(state: State, pick: Random) -> None:
    for key in ("head.fc.weight", "head.fc.bias"):
        state[key] = torch.cat((state[key], state[key]))


def _doubled(state: State, pick: Random) -> None:
    key = pick.choice(list(state))
    state[f"module.{key}"] = state[key]


KEYS: dict[str, Callable[[State, Random], None]] = {
    "missing": _missing,
    "extra": _extra,
    "odd key": _odd_key,
    "renamed": _renamed,
    "swapped": _swapped,
    "other head": _other_head,
    "doubled": _doubled,
    "nothing at all": lambda state, pick: state.clear(),
}
KINDS = [*SAVED, *UNSAVED, *KEYS]


def spoil(state: State, kind: str, pick: Random) -> bool:
    """Put a fault into a state dict; return False if no tensor is suitable."""
    if kind in KEYS:
        KEYS[kind](state, pick)
        return True
    fits, change = {**SAVED, **UNSAVED}[kind]
    keys = [key for key, value in state.items() if fits(key, value)]
    if keys:
        key = pick.choice(keys)
        state[key] = change(state[key], pick)
    return bool(keys)


# --- models --------------------------------------------------------------------------------------------------------------
class Target:
    """A narrow version of a registered model, and valid weights for it with the names of every layout that allows no others."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        self.name, layouts = name, (NATIVE, *(one for one in find_entry(name).layouts if not one.has_other_layers))
        model = iz.create_model(f"narrow_{name}", dtype=dtype)
        self.model = shaken(iz.with_aux(model) if model.network.aux else model, 2)
        self.watch = Watch(self.model)
        self.before, self.half = self.watch.bits, dtype == torch.float16
        self.good = {key: value.clone() for key, value in shaken(self.model, 1).state_dict().items()}
        self.after, self.watch.bits = self.watch.bits, self.before
        self.tables = [layout.table(self.good) for layout in layouts]


def transactional(count: int, seed: int = 0) -> Figure:
    """Load `count` state dicts with one fault each, spread over every registered model (figure 2)."""
    figure = Figure("transactional load", (*ERRORS, *ZERO), ("loaded valid weights", *(f"refused: {kind}" for kind in KINDS)))
    names = iz.list_models()
    with ExitStack() as stack:
        for name in names:
            entry = find_entry(name)
            stack.enter_context(registered(f"narrow_{name}", narrowed(name), num_classes=4, layouts=entry.layouts))
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY_DISK))) / "w.pth"
        targets = [Target(name, dtype) for name in names for dtype in (torch.float32, torch.float16)]
        figure.counts["cases"], figure.counts["models"] = count, len(names)
        isolated(figure, lambda number: _case(targets[number % len(targets)], path, Random(seed << 40 | number)), count)
    return figure


def _case(target: Target, path: Path, pick: Random) -> Iterator[tuple[str, object]]:
    """Load one state dict with a fault (a few are valid), as a dict or as a file; yield what is found."""
    state: State = dict(target.good)
    kind = pick.choice(KINDS) if pick.random() < 0.95 else "none"
    if (kind == "overflow of float16" and not target.half) or (kind != "none" and not spoil(state, kind, pick)):
        kind = "none"
    table = pick.choice(target.tables)
    prefix = pick.choice(("", "", "module.", "_orig_mod.module."))
    state = {prefix + table.get(key, key) if isinstance(key, str) else key: value for key, value in state.items()}
    source: object = {"model": state} if pick.random() < 0.2 else state
    if kind not in UNSAVED and kind != "no tensor" and pick.random() < 0.1:
        torch.save(source, path)
        source = path
    what, loaded = f"{kind}, {target.name}", False
    try:
        iz.load_weights(target.model, source)
        loaded = True
        yield ("loaded valid weights" if kind == "none" else "fault accepted"), what
    except iz.ZooError as error:
        yield ("valid weights refused" if kind == "none" else f"refused: {kind}"), f"{what}: {error}"
    except BaseException as error:
        yield "error other than ZooError", f"{what}: {type(error).__name__}: {str(error)[:200]}"
    if not target.watch.in_place or target.watch.bits != (target.after if loaded and kind == "none" else target.before):
        yield "half-modified model", what
    target.watch.bits = target.before
