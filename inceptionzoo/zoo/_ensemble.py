"""Ensemble: several models as one module that averages their probabilities."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ..errors import ArgumentError, FileError, MismatchError, check_number, check_path
from ..evaluation import (
    Batches,
    align_classes,
    check_images,
    check_loader,
    evaluation_mode,
    find_class_names,
    task_of,
    unpack_batch,
)
from ..nn import CLASS_TASKS, Net, check_has_values, warn_of_hooks
from ..weights import (
    MARKER,
    ModelMetadata,
    WeightSource,
    check_safetensors_path,
    checked_state,
    describe_model,
    find_invalid_values,
    read_safetensors,
    read_safetensors_metadata,
    write_safetensors,
)
from ._members import check_members, normalisation, renormalisation, warn_of_other_preprocessing
from ._restore import build_from_metadata

KIND = "ensemble"
LBFGS_STEPS = 100  # enough for one number per member


class Ensemble(nn.Module):
    """Several models with the same classes and task as one model. The output is the log of the mean of their probabilities.

    Shape: (n, c, h, w) -> (n, num_classes). `softmax(1)` of the output is the mean, so an ensemble works like a single model
    in `evaluate`, `predict` and loss functions. For the tasks "binary" and "multilabel" the sigmoid of the output is the
    mean of the probabilities, and for "regression" the output is the mean of the values.

    Normalise images as `ensemble.data` says, which is the `data` of the first member. If another member uses a different
    mean and standard deviation, the ensemble renormalises the images for it. Another size or crop mode gives a
    warning.

    `weights` holds one number of at least 0 for each member; they are scaled to a sum of 1. By default all are equal.

    Raises:
        ArgumentError: there are no members, the members differ in number of classes, class names, task, channels, dtype or
            device, or the weights are invalid.
    """

    def __init__(self, members: Iterable[Net], weights: Sequence[float] | Tensor | None = None) -> None:
        super().__init__()
        nets = list(members) if isinstance(members, Iterable) else [members]
        check_members(nets)
        warn_of_other_preprocessing(nets)
        first = nets[0]
        self.members, self.data, self.in_chans = nn.ModuleList(nets), first.data, first.in_chans
        parameter = next(first.parameters())
        self.register_buffer("weights", torch.empty(len(nets), device=parameter.device))
        self.set_weights([1.0] * len(nets) if weights is None else weights)
        self.normalisations = [normalisation(net.data) for net in nets]
        for index, net in enumerate(nets):
            scale, shift = renormalisation(first.data, net.data)
            self.register_buffer(f"scale{index}", scale.to(parameter), persistent=False)
            self.register_buffer(f"shift{index}", shift.to(parameter), persistent=False)

    @property
    def num_classes(self) -> int:
        """Number of outputs of each member."""
        return self._first.num_classes

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the outputs of the first member, or None."""
        return self._first.class_names

    @class_names.setter
    def class_names(self, names: tuple[str, ...] | list[str] | None) -> None:
        for member in self.members:
            assert isinstance(member, Net)
            member.class_names = names

    @property
    def task(self) -> str:
        """Task of the first member."""
        return self._first.task

    @property
    def _first(self) -> Net:
        first = self.members[0]
        assert isinstance(first, Net)
        return first

    def __call__(self, x: Tensor) -> Tensor:
        """Return `forward(x)`."""
        result: Tensor = super().__call__(x)
        return result

    def forward(self, x: Tensor) -> Tensor:
        logits = self._logits(x)
        weights = self.get_buffer("weights")[:, None, None].to(logits.dtype)
        if self.task == "regression":
            return (weights * logits).sum(0)
        if self.task == "multiclass":
            return torch.logsumexp(logits.log_softmax(2) + weights.log(), 0)
        positive, negative = (torch.logsumexp(logsigmoid(one) + weights.log(), 0) for one in (logits, -logits))
        return positive - negative

    def _logits(self, x: Tensor) -> Tensor:
        """Return the logits of each member: (n, c, h, w) -> (members, n, num_classes)."""
        logits = []
        for index, member in enumerate(self.members):
            images = x if index == 0 else x * self.get_buffer(f"scale{index}") + self.get_buffer(f"shift{index}")
            logits.append(member(images))
        return torch.stack(logits)

    def set_weights(self, weights: Sequence[float] | Tensor) -> None:
        """Set the weight of each member in the mean. The weights are scaled to a sum of 1.

        Raises:
            ArgumentError: the number of weights is not the number of members, a weight is not a number of at least 0, or
                all weights are 0.
        """
        weights = weights.tolist() if isinstance(weights, Tensor) else weights
        values = list(weights) if isinstance(weights, Iterable) else None
        if values is None or len(values) != len(self.members):
            raise ArgumentError(f"weights={weights!r} must be {len(self.members)} numbers, one for each member")
        for value in values:
            check_number("weights", value)
        if not sum(values):
            raise ArgumentError(f"weights={values!r} must not all be 0")
        self.get_buffer("weights").copy_(torch.tensor(values, dtype=torch.float64, device="cpu") / sum(values))

    def fit_weights(self, loader: Batches) -> list[float]:
        """Set the weights that minimise the cross-entropy on `loader`, and return them.

        Use data that no member was trained on. The loader is read once, so it may shuffle or augment.

        Raises:
            ArgumentError: as `evaluate`, or the task is "multilabel" or "regression". The weights are unchanged.
        """
        if self.task not in CLASS_TASKS:
            raise ArgumentError(f"fit_weights: the task of the members is {self.task!r}, and must be 'multiclass' or 'binary'")
        likelihoods = self._likelihoods(loader)
        logits = likelihoods.new_zeros(len(likelihoods), requires_grad=True)  # their softmax gives the weights
        optimizer = torch.optim.LBFGS([logits], max_iter=LBFGS_STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = -(logits.softmax(0) @ likelihoods).log().mean()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch's own
        weights: list[float] = logits.detach().softmax(0).tolist()
        self.set_weights(weights)
        return weights

    def _likelihoods(self, loader: Batches) -> Tensor:
        """Return the probability that each member gives to the target of each image: (members, images), at least 1e-12."""
        check_has_values(self)
        check_loader("loader", loader)
        parameter, parts, task = next(self.parameters()), [], task_of(self, self.num_classes)
        alignment = align_classes(find_class_names(loader), self.class_names, task, "loader")
        for images, targets in map(unpack_batch, loader):
            check_images(images, targets)
            labels = task.labels(task.check(targets if alignment is None else alignment.apply(targets, task))).cpu()
            with evaluation_mode(self):  # not around the loader, which may keep its tensors
                logits = self._logits(images.to(parameter.device, parameter.dtype)).float().cpu()
                rows = torch.stack([task.outputs(member)[torch.arange(len(labels), device="cpu"), labels] for member in logits])
            parts.append(rows.double())
        if not parts:
            raise ArgumentError("fit_weights: the loader gave no batch; check the data set and its filters")
        return torch.cat(parts, 1).clamp_min(1e-12)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the members and their weights to one .safetensors file, atomically. `Ensemble.load` reads it.

        Raises:
            ArgumentError: a member cannot be saved (see `save_weights`), the ensemble itself was changed, or `path` does not
                end in .safetensors.
            OSError: the file cannot be written.
        """
        target = check_safetensors_path(path)
        members = [member for member in self.members if isinstance(member, Net)]
        _check_ensemble(self, members)
        metadata = [json.loads(describe_model(member, class_names=None, metrics=None).to_json()) for member in members]
        warn_of_hooks(self, stacklevel=2)
        tensors = {"weights": self.get_buffer("weights")}
        for index, member in enumerate(members):
            tensors |= {f"members.{index}.{key}": value for key, value in checked_state(member).items()}
        write_safetensors(target, tensors, {"format": "pt", MARKER: json.dumps({"kind": KIND, "members": metadata})})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the ensemble that `save` wrote to `path`, in evaluation mode, on torch's default device.

        Raises:
            OSError: the file cannot be read.
            FileError: the file does not hold an ensemble, or is damaged.
            WeightsError: the weights of a member do not fit its architecture.
        """
        tensors, header = read_safetensors(check_path("path", path))
        members_metadata = [ModelMetadata.from_json(text, str(path)) for text in _members_json(header.get(MARKER, "{}"))]
        weights = tensors.pop("weights", None)
        count = len(members_metadata)
        if not count or weights is None or weights.shape != (count,) or not weights.is_floating_point():
            raise FileError(f"{path} holds no ensemble; load_model reads a single model")
        if faults := find_invalid_values({"weights": weights}):
            raise MismatchError(f"{path}: {faults[0]}; save it again")
        members = []
        for index, metadata in enumerate(members_metadata):
            prefix = f"members.{index}."
            state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            members.append(build_from_metadata(WeightSource(state, f"{path}, member {index}", metadata)))
        return cls(members, weights.tolist()).to(torch.get_default_device()).eval()


def holds_ensemble(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an ensemble's, from its header alone.

    Raises:
        OSError: the file cannot be read.
    """
    return bool(_members_json(read_safetensors_metadata(Path(path)).get(MARKER, "{}")))


def _check_ensemble(ensemble: Ensemble, members: Sequence[Net]) -> None:
    """Check that the file of an ensemble, which holds the members and their weights, loses nothing of it.

    Raises:
        ArgumentError: it would, or the members do not go together any more.
    """
    methods = [(name, getattr(getattr(ensemble, name), "__func__", None)) for name in ("forward", "_logits")]
    changed = [name for name, method in methods if method is not vars(Ensemble)[name]]
    changed += [
        name for name, _ in (*ensemble.named_children(), *ensemble.named_parameters(recurse=False)) if name != "members"
    ]
    changed += ["data"] if ensemble.data != members[0].data else []
    changed += ["members"] if not len(members) == len(ensemble.members) == len(ensemble.get_buffer("weights")) else []
    pairs = enumerate(zip(members, ensemble.normalisations, strict=False))
    changed += [f"members[{index}].data" for index, (member, known) in pairs if normalisation(member.data) != known]
    if changed:
        remedy = "change the members before they are put into an Ensemble, or save them one by one"
        raise ArgumentError(f"the ensemble cannot be saved: its {changed[0]} was changed, which a file does not hold; {remedy}")
    check_members(members)


def _members_json(text: str) -> list[str]:
    """Return the JSON of each member's metadata, or no members if the text does not describe an ensemble."""
    try:
        header = json.loads(text)
        members = list(header["members"]) if header["kind"] == KIND else []
    except (ValueError, TypeError, KeyError):
        return []
    return [json.dumps(member) for member in members]
