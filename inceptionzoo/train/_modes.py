"""The modes of a model during training: evaluation mode of parts, frozen layers, gradient checkpointing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from ..errors import ArgumentError, check_choice, check_int
from ..nn import AuxHead, Net, training_batch_norms


def parts_in_evaluation(model: nn.Module, before: list[nn.Module]) -> list[nn.Module]:
    """Return the modules that the user put into evaluation mode: those in this mode inside a model in training mode.

    If the whole model is in evaluation mode, as `load_model` returns it or as a callback leaves it, they are those `before`.
    """
    return [module for module in model.modules() if not module.training] if model.training else before


def set_training_mode(model: nn.Module, eval_parts: list[nn.Module]) -> list[nn.Module]:
    """Put the model into training mode, but not its `parts_in_evaluation`; return these."""
    eval_parts = parts_in_evaluation(model, eval_parts)
    model.train()
    for module in eval_parts:
        module.training = False
    return eval_parts


@contextmanager
def freeze_batch_norm(model: nn.Module, *, only_frozen: bool = False) -> Iterator[None]:
    """Make batch normalisation use its running statistics, without updating them.

    With `only_frozen` this holds for the modules that have parameters, of which none requires a gradient.
    """
    norms = [module for module in training_batch_norms(model) if not only_frozen or _is_frozen(module)]
    for module in norms:
        module.eval()
    try:
        yield
    finally:
        for module in norms:
            module.train()


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def classifier_parameters(model: Net) -> list[nn.Parameter]:
    """Return the parameters of the classifiers, the auxiliary ones too."""
    heads = [model.get_classifier(), *(branch.head.fc for branch in model.aux.values() if isinstance(branch, AuxHead))]
    return [parameter for head in heads for parameter in head.parameters()]


def check_freeze_epochs(model: Net, freeze_epochs: int, epochs: int) -> None:
    """Check that some epochs can train only the classifiers.

    Raises:
        ArgumentError: there are fewer epochs, or no parameter of a classifier requires a gradient.
    """
    check_int(f"epochs={epochs}: freeze_epochs", freeze_epochs, 0, epochs)
    if freeze_epochs and not any(parameter.requires_grad for parameter in classifier_parameters(model)):
        raise ArgumentError(
            f"freeze_epochs={freeze_epochs} trains only the classifiers, and their parameters have requires_grad=False; call "
            "model.get_classifier().requires_grad_(True)"
        )


@contextmanager
def freeze_backbone(model: Net) -> Iterator[None]:
    """Freeze all parameters but those of the classifiers (the auxiliary ones too), and batch normalisation's statistics."""
    classifiers = set(map(id, classifier_parameters(model)))
    backbone = [parameter for parameter in model.parameters() if id(parameter) not in classifiers]
    with requires_grad(backbone, False), freeze_batch_norm(model):
        yield


def stages_up_to(model: Net, name: str) -> nn.Sequential:
    """Return the stages of a model up to and including the one with this name.

    Raises:
        ArgumentError: no stage has this name.
    """
    names = [stage for stage, _ in model.features.named_children()]
    check_choice("freeze_up_to", name, names)
    return model.features[: names.index(name) + 1]


@contextmanager
def freeze_stages(model: Net, up_to: str | None) -> Iterator[None]:
    """Freeze the parameters and the batch normalisation's statistics of the stages up to `up_to`; of none if it is None."""
    stages = nn.Sequential() if up_to is None else stages_up_to(model, up_to)
    with requires_grad(stages.parameters(), False), freeze_batch_norm(stages):
        yield


@contextmanager
def requires_grad(parameters: Iterable[nn.Parameter], value: bool) -> Iterator[None]:
    """Set `requires_grad` of the parameters, and restore it afterwards."""
    changed = [parameter for parameter in parameters if parameter.requires_grad is not value]
    for parameter in changed:
        parameter.requires_grad_(value)
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(not value)


@contextmanager
def gradient_checkpointing(model: Net, enable: bool) -> Iterator[None]:
    """Turn gradient checkpointing on if `enable`, and restore the model's setting afterwards."""
    before = model.grad_checkpointing
    model.set_grad_checkpointing(enable or before)
    try:
        yield
    finally:
        model.set_grad_checkpointing(before)
