"""Damaged files loaded through the public API: which check refuses each, and what must not happen."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch
from figure import Figure
from isolated import ERRORS, Watch, isolated, same_bits
from mutator import Mutant, Original, decode, mutant
from pth_mutator import PthOriginal, pth_mutant
from small import shaken, tiny_at
from torch import Tensor

import inceptionzoo as iz

WRONG = ("error other than ZooError", "half-modified model", "silent wrong load")
UNDETECTED = "changed bytes not detected"  # of a file with a digest
STAGES = {  # part of an error's message: the check that refused; the first match counts, no match is reading the file
    "its own digest": "digest refused",
    "the header must hold": "digest refused",
    "hexadecimal digits": "digest refused",
    "does not describe a model": "metadata refused",
    "has format version": "metadata refused",
    "unknown model": "metadata refused",
    "unknown keyword": "metadata refused",
    "the model is '": "architecture refused",
    "', not '": "architecture refused",
    "asks for a model of": "size refused",
    "match no known layout": "names refused",
    "no tensor has a name of this model": "names refused",
    "appears twice without its prefixes": "names refused",
    "does not fit": "values refused",
    "do not fit": "values refused",
    "does not say which model": "no metadata",
    "is compressed": "archive refused",
    "two entries of one name": "archive refused",
    "the checksum of": "archive refused",
    "besides tensors": "code refused",
    "holds no state dict": "content refused",
    "not a tensor": "content refused",
    "must be a str, the name": "content refused",
}
Reading = tuple[Mapping[str, Tensor], Mapping[str, Any]]


def stage(error: iz.ZooError) -> str:
    """Return the name of the check that refused."""
    name = next((name for words, name in STAGES.items() if words in str(error)), "")
    return name or ("arguments refused" if isinstance(error, iz.ArgumentError | iz.SpecError) else "file refused")


class Trial:
    """A model, and a path from which mutants are loaded into it."""

    def __init__(self, path: Path, original: bytes, reads: Callable[[bytes], Reading]) -> None:
        self.path, self.original, self.reads, self.good = path, original, reads, reads(original)[0]
        self.model = shaken(iz.create_model("tiny").eval(), 2)  # other values than the file's, so that a partial load is seen
        self.watch = Watch(self.model)
        self.before = self.watch.bits
        self.model.load_state_dict({key: self.good[key] for key in self.model.state_dict()})
        self.after = self.watch.bits
        self.watch.bits = self.before

    def load(self, mutant: Mutant, function: str) -> Iterator[tuple[str, object]]:
        """Load the mutant; yield the check that refused it, or that it was loaded, and each thing that must not happen."""
        self.path.write_bytes(mutant.data)
        model, loaded, what = self.model, False, f"{mutant.how}, {function}"
        try:
            if function == "load_weights":
                iz.load_weights(model, self.path)
            else:
                model = iz.load_model(self.path) if function == "load_model" else iz.create_model("tiny", weights=self.path)
            loaded = True
        except iz.ZooError as error:
            yield stage(error), ""
        except BaseException as error:
            yield "error other than ZooError", f"{what}: {type(error).__name__}: {str(error)[:200]}"
        if loaded:
            wrong = self._wrong(model, mutant)
            yield ("silent wrong load", f"{what}: {wrong}") if wrong else ("loaded", "")
            honest = "loaded as the file says" if mutant.digest else "loaded as the file says, without a checksum"
            yield (honest if mutant.honest else "loaded unchanged"), ""
            if mutant.digest and not mutant.honest and mutant.data != self.original:
                yield UNDETECTED, what
        if not self.watch.in_place or (self.watch.bits != self.before and not (loaded and model is self.model)):
            yield "half-modified model", what
        self.watch.bits = self.before

    def _wrong(self, model: iz.Net, mutant: Mutant) -> str:
        """Return what differs between a loaded model and its file, or the original if the file is not honest; "" if nothing."""
        if mutant.honest:
            return _difference(model, *self.reads(mutant.data), whole=model is not self.model)
        if model is self.model:
            return "" if self.watch.bits == self.after else "other values"
        return _difference(model, self.good, {}, whole=True)


def _difference(model: iz.Net, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, whole: bool) -> str:
    """Return the first key in which a model differs from its file or holds an invalid value; "" if there is none."""
    prefix = re.compile(r"^.*?(?=(features|head|aux)\.)")  # whatever stands before a name of the model
    theirs = {prefix.sub("", key, count=1): value for key, value in tensors.items() if isinstance(key, str)}
    for key, value in model.state_dict().items():
        counter = key.endswith("num_batches_tracked")
        wanted = theirs.get(key, torch.zeros(()) if counter else None)
        if wanted is None or not same_bits({key: value}, {key: wanted.to(value.dtype).reshape(value.shape)}):
            return key
        if not value.isfinite().all() or ((counter or key.endswith("running_var")) and (value < 0).any()):
            return f"a value of {key}"
    if not whole or not metadata:
        return ""
    built = {"num_classes": model.num_classes, "in_chans": model.in_chans, "global_pool": model.global_pool}
    built["class_names"] = None if model.class_names is None else list(model.class_names)
    return next((key for key, value in built.items() if value != metadata[key]), "")


def malformed_safetensors(count: int, seed: int = 0) -> Figure:
    """Load `count` damaged .safetensors files (figure 1)."""
    figure = Figure("malformed .safetensors", (*ERRORS, *WRONG, UNDETECTED))
    figure.reached = ("file refused", "digest refused", "metadata refused", "names refused", "values refused")
    figure.reached += ("loaded unchanged", "loaded as the file says")
    with tiny_at("m.safetensors") as path:
        model = shaken(iz.with_aux(iz.create_model("tiny")).eval(), 1)
        iz.save_weights(model, path, class_names=["a", "b", "c"], metrics={"auc": 0.5})
        originals = [Original(path.read_bytes())]
        model.aux.clear()
        iz.save_weights(model, path)
        originals.append(Original(path.read_bytes()))
        trials = [Trial(path, original.data, decode) for original in originals]
        _load_all(figure, trials, lambda number, pick: mutant(originals[number % 2], pick), count, seed)
    return figure


def malformed_pth(count: int, seed: int = 0) -> Figure:
    """Load `count` damaged .pth files, archives and older ones (figure 1)."""
    figure = Figure("malformed .pth", (*ERRORS, *WRONG))
    figure.reached = ("file refused", "archive refused", "content refused", "names refused", "values refused")
    figure.reached += ("loaded unchanged", "loaded as the file says")
    with tiny_at("m.pth") as path:
        original = PthOriginal(shaken(iz.create_model("tiny"), 1).state_dict())
        trial = Trial(path, original.archive, _unpickled)
        _load_all(figure, [trial], lambda number, pick: pth_mutant(original, pick), count, seed)
    return figure


def _load_all(figure: Figure, trials: list[Trial], make: Callable[[int, Random], Mutant], count: int, seed: int) -> None:
    """Load mutants 0 to `count - 1`, with each trial in turn; `load_model` gets more of those with changed metadata."""

    def made(number: int) -> tuple[Mutant, str]:
        pick = Random(seed << 40 | number)
        mutant = make(number, pick)
        draw = pick.random() * (0.1 if mutant.how.startswith("metadata_") else 1.0)
        return mutant, "load_model" if draw < 0.03 else "create_model" if draw < 0.05 else "load_weights"

    def case(number: int) -> Iterator[tuple[str, object]]:
        yield from trials[number % len(trials)].load(*made(number))

    figure.counts["mutants"] = count
    isolated(figure, case, count, lambda number: f"{made(number)[0].how}, {made(number)[1]}")


def _unpickled(data: bytes) -> Reading:
    """Return what torch itself reads, without its wrappers."""
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    names = ("state_dict", "model", "net", "x")
    while not any(isinstance(value, Tensor) for value in state.values()):
        keys = (*names, *state)  # a flip can change the name
        inner = next((state[key] for key in keys if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = inner
    return state, {}
