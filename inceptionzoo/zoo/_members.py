"""The members of an ensemble: what they must share, and how their preprocessing differs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..nn import Net, require_net
from ..spec import DataConfig


def normalisation(data: DataConfig) -> tuple[tuple[float, ...], ...]:
    """Return the mean and the standard deviation with which images are normalised."""
    return data.mean, data.std


def renormalisation(source: DataConfig, target: DataConfig) -> tuple[Tensor, Tensor]:
    """Return scale and shift, each (c, 1, 1) for images, from the source's normalisation to the target's: x * scale + shift."""
    mean, std, target_mean, target_std = (
        torch.tensor(values, dtype=torch.float64, device="cpu").view(-1, *(1,) * len(source.size))
        for values in (*normalisation(source), *normalisation(target))
    )
    return std / target_std, (mean - target_mean) / target_std


def check_members(members: Sequence[object]) -> None:
    """Check that the members are models of the same classes, task, channels, dimensions, dtype and device.

    Raises:
        ArgumentError: they are not.
    """
    nets = [require_net(member, "Ensemble") for member in members]
    if not nets:
        raise ArgumentError("members=[] must be one or more models that create_model returned")
    traits = list(map(_traits, nets))
    for name in traits[0]:
        values = [trait[name] for trait in traits]
        if any(value != values[0] for value in values):
            raise ArgumentError(f"members differ in {name}: {values}; they must be the same")
    if not nets[0].num_classes:
        raise ArgumentError("members of num_classes=0 have no probabilities; see reset_classifier")


def warn_of_other_preprocessing(nets: Sequence[Net]) -> None:
    """Warn if members were made for images of another size, or with another crop mode, than the first."""
    first = nets[0].data
    for index, net in enumerate(nets):
        for name in ("input_size", "crop_mode"):
            if (value := getattr(net.data, name)) != (expected := getattr(first, name)):
                warnings.warn(
                    f"member {index} has {name}={value!r}, but the ensemble prepares images for member 0, {name}={expected!r}, "
                    f"so that its answers may be worse. If member {index} was trained on such images, set its data to that of "
                    "member 0",
                    stacklevel=3,  # the call of Ensemble
                )
                return


def _traits(net: Net) -> dict[str, object]:
    """Return the properties that must be equal for all members."""
    names, parameter = ("num_classes", "in_chans", "class_names", "task"), next(net.parameters())
    others = {"spatial_dims": net.network.spatial_dims, "dtype": parameter.dtype, "device": parameter.device}
    return {name: getattr(net, name) for name in names} | others
