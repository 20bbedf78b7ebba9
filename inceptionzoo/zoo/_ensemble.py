"""One model from several: the mean of their probabilities."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, FileError, MismatchError, check_number, check_path
from ..evaluation import Batches, check_batch, check_loader, evaluation_mode, unpack_batch
from ..nn import Net
from ..weights import (
    MARKER,
    ModelMetadata,
    WeightSource,
    check_materialized,
    describe_model,
    find_invalid_values,
    read_safetensors,
    write_safetensors,
)
from ._restore import build_from_metadata

KIND = "ensemble"
STEPS = 100  # of LBFGS, for a handful of numbers


class Ensemble(nn.Module):
    """Members of the same classes as one model: (n, c, h, w) -> (n, num_classes), the log of their mean probabilities.

    softmax(1) of that is the mean itself, so `evaluate`, `predict` and a loss take it as they take a network's logits.
    Images are prepared as `data` says, which is the first member's; a member that was trained with another mean and
    standard deviation gets them so. `weights` (a number for each member, of at least 0) weigh the mean; their sum is made 1.

    Raises:
        ArgumentError: there is no member, they differ in classes, their names, channels, dtype or device, or the weights do
            not fit.
    """

    def __init__(self, members: Iterable[Net], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        found = list(members) if isinstance(members, Iterable) else [members]
        _check_members(found)
        first = found[0]
        self.members, self.data, self.class_names = nn.ModuleList(found), first.data, first.class_names
        self.num_classes, self.in_chans = first.num_classes, first.in_chans
        like = next(first.parameters())
        self.register_buffer("weights", torch.empty(len(found), device=like.device))
        self.set_weights([1.0] * len(found) if weights is None else weights)
        for index, member in enumerate(found):  # of x: from the first member's normalisation to this one's
            mean, std, own_mean, own_std = (
                torch.tensor(values, dtype=torch.float64)[:, None, None]
                for values in (first.data.mean, first.data.std, member.data.mean, member.data.std)
            )
            self.register_buffer(f"scale{index}", (std / own_std).to(like), persistent=False)
            self.register_buffer(f"shift{index}", ((mean - own_mean) / own_std).to(like), persistent=False)

    def __call__(self, x: Tensor) -> Tensor:
        """Return `forward(x)`."""
        result: Tensor = super().__call__(x)
        return result

    def forward(self, x: Tensor) -> Tensor:
        logs = self._logs(x)
        weights = self.get_buffer("weights").log()[:, None, None]
        return torch.logsumexp(logs + weights.to(logs.dtype), 0)

    def _logs(self, x: Tensor) -> Tensor:
        """Return the log probabilities of each member: (n, c, h, w) -> (members, n, num_classes)."""
        logs = []
        for index, member in enumerate(self.members):
            seen = x if index == 0 else x * self.get_buffer(f"scale{index}") + self.get_buffer(f"shift{index}")
            logs.append(member(seen).log_softmax(1))
        return torch.stack(logs)

    def set_weights(self, weights: Sequence[float]) -> None:
        """Weigh the members' probabilities.

        Raises:
            ArgumentError: there is not one for each member, one is no number of at least 0, or all are 0.
        """
        values = list(weights)
        if len(values) != len(self.members):
            raise ArgumentError(f"weights={values!r} must be {len(self.members)} numbers, one a member")
        for value in values:
            check_number("weights", value)
        if not sum(values):
            raise ArgumentError(f"weights={values!r} must not all be 0")
        self.get_buffer("weights").copy_(torch.tensor(values, dtype=torch.float64) / sum(values))

    def fit_weights(self, loader: Batches) -> list[float]:
        """Choose the weights that make `loader`'s targets likeliest, and return them. Take data that no member has trained on.

        The loader is read once, so that it may be shuffled or augmented.

        Raises:
            ArgumentError: as `evaluate`; the weights are as they were.
        """
        truth = self._likelihoods(loader)
        free = torch.zeros(len(truth), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([free], max_iter=STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = -(free.softmax(0) @ truth).log().mean()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch's own
        chosen: list[float] = free.detach().softmax(0).tolist()
        self.set_weights(chosen)
        return chosen

    def _likelihoods(self, loader: Batches) -> Tensor:
        """Return the probability that each member gives each image's target, (members, images)."""
        check_loader("loader", loader)
        like, found = next(self.parameters()), []
        with evaluation_mode(self):
            for images, targets in map(unpack_batch, loader):
                check_batch(images, targets, self.num_classes)
                logs = self._logs(images.to(like.device, like.dtype)).cpu()
                found.append(logs[:, torch.arange(len(targets)), targets.cpu()].double().exp())
        if not found:
            raise ArgumentError("fit_weights: the loader gave no batch; check the data set and its filters")
        return torch.cat(found, 1).clamp_min(1e-12)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all members and their weights to one .safetensors file, whole or not at all.

        Raises:
            ArgumentError: a member cannot be built again by its name, or holds no weights yet (meta).
            OSError: the disk refuses; an old file at `path` is as it was.
        """
        target = check_path("path", path)
        members = [member for member in self.members if isinstance(member, Net)]
        cards = [json.loads(describe_model(member, class_names=None, metrics=None).to_json()) for member in members]
        check_materialized(self.state_dict())
        tensors = {"weights": self.get_buffer("weights")}
        for index, member in enumerate(members):
            tensors |= {f"members.{index}.{key}": value for key, value in member.state_dict().items()}
        write_safetensors(target, tensors, {"format": "pt", MARKER: json.dumps({"kind": KIND, "members": cards})})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the ensemble that `save` wrote, in evaluation mode.

        Raises:
            FileError: the file is none, or damaged.
            WeightsError: a member in it does not fit what it says it is.
        """
        target = check_path("path", path)
        tensors, metadata = read_safetensors(target)
        try:
            header = json.loads(metadata.get(MARKER, "{}"))
            told = list(header["members"]) if header["kind"] == KIND else []
        except (ValueError, TypeError, KeyError):
            told = []
        cards = [ModelMetadata.from_json(json.dumps(card), str(path)) for card in told]
        weights = tensors.pop("weights", None)
        if not cards or weights is None or weights.shape != (len(cards),) or not weights.is_floating_point():
            raise FileError(f"{path} holds no ensemble; load_model reads a single model")
        if faults := find_invalid_values({"weights": weights}):
            raise MismatchError(f"{path}: {faults[0]}; save it again")
        members = []
        for index, card in enumerate(cards):
            prefix = f"members.{index}."
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            members.append(build_from_metadata(WeightSource(own, f"{path}, member {index}", card)))
        return cls(members, weights.tolist()).eval()


def _check_members(members: Sequence[object]) -> None:
    if not members or not all(isinstance(member, Net) for member in members):
        kinds = [type(member).__name__ for member in members]
        raise ArgumentError(f"members={kinds} must be one or more models of create_model")
    nets = [member for member in members if isinstance(member, Net)]
    traits = list(map(_traits, nets))
    for what in traits[0]:
        values = [found[what] for found in traits]
        if any(value != values[0] for value in values):
            raise ArgumentError(f"members differ in {what}: {values}; they must be the same")
    if nets[0].num_classes < 2:
        raise ArgumentError(f"members of num_classes={nets[0].num_classes} have no probabilities; see reset_classifier")


def _traits(net: Net) -> dict[str, object]:
    """Return what members have in common."""
    like = next(net.parameters())
    own = {"num_classes": net.num_classes, "in_chans": net.in_chans, "class_names": net.class_names}
    return {**own, "dtype": like.dtype, "device": like.device}
