"""Refuse tensors that cannot be a model's values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from ..errors import ArgumentError, MismatchError, name_type
from ..nn import check_has_values, private_torch
from ._safetensors_header import DTYPE_NAMES


def checked_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a model, checked for saving.

    Raises:
        ArgumentError: it has other names than the parameters and buffers, because of a hook or a method of the user's own; or a
            file of it could not be loaded: a tensor is on the meta device, or a value is not finite.
    """
    state = model.state_dict()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    odd = [key for key in parameters if key not in state]
    odd += [key for key, value in state.items() if key not in {**parameters, **buffers} or not isinstance(value, Tensor)]
    if odd:
        raise ArgumentError(
            f"the model cannot be saved: state_dict() and the parameters and buffers differ in {odd[0]!r}; remove the hook, "
            "the state_dict method or the get_extra_state that changes the state dict"
        )
    check_has_values(model)
    if faults := find_invalid_values(state):
        raise ArgumentError(
            f"the model cannot be saved: {faults[0]}; load_model would refuse the file. Restore earlier weights"
        )
    return state


def require_dense(name: str, value: Tensor) -> Tensor:
    """Return the tensor, detached and without the attributes that a file may have set on it.

    Raises:
        MismatchError: it is not a dense tensor of numbers in memory: it is lazy, sparse, nested, quantized, functional, on
            the meta device, or an instance of a subclass.
    """
    if problem := _unreadable(value):
        whole = "call full_tensor() on it" if hasattr(value, "full_tensor") else "save it as one"
        raise MismatchError(f"{name}: must be a plain dense tensor with values, not {problem}; {whole}")
    return Tensor.detach(value)  # a new object, without attributes; never a method that the file has replaced


def _unreadable(value: Tensor) -> str:
    """Return why a tensor is not one that `require_dense` accepts, or ""."""
    if type(value) not in (Tensor, Parameter):
        return name_type(value)
    value = Tensor.detach(value)
    problems = {
        "a functional tensor": private_torch.is_functional_tensor(value),
        "a nested tensor": value.is_nested,
        f"a quantized tensor ({value.dtype})": value.is_quantized,
        "a tensor on the meta device": value.is_meta,
        f"of layout {value.layout}": value.layout is not torch.strided,
    }
    return next((problem for problem, present in problems.items() if present), "")


def check_settable(state: Mapping[str, object]) -> None:
    """Check that values can be copied into every tensor of a model's state dict.

    Raises:
        ArgumentError: they cannot be copied into one: it is of another kind, was made in torch.inference_mode(), or has more
            elements than its storage (it is expanded).
    """
    for key, value in state.items():
        problem = _unsettable(value) if isinstance(value, Tensor) else name_type(value)
        if problem:
            raise ArgumentError(
                f"the model's {key} is {problem}: no values can be copied into it; load the weights into a new model, made "
                "outside of torch.inference_mode(), and then change that (fully_shard, quantization)"
            )


def _unsettable(value: Tensor) -> str:
    if type(value) in (Tensor, Parameter) and value.is_meta:
        return ""
    if problem := _unreadable(value):
        return problem
    if value.is_inference() and not torch.is_inference_mode_enabled():
        return "an inference tensor"
    return "an expanded tensor" if is_expanded(value) else ""


def is_expanded(value: Tensor) -> bool:
    """Return whether a tensor has more elements than its storage."""
    return value.untyped_storage().nbytes() < value.numel() * value.element_size()


def find_invalid_values(values: Mapping[str, Tensor]) -> list[str]:
    """Return a message for each tensor with a value that is not finite, and for each negative variance or batch counter.

    Call it after a cast, which can overflow. Tensors of dtypes that no file can hold are not looked at.
    """
    faults = []
    for key, value in values.items():
        if not value.numel() or value.dtype not in DTYPE_NAMES:
            continue
        low, high = torch.aminmax(value.detach())
        if not (torch.isfinite(low) and torch.isfinite(high)):
            faults.append(f"{key}: all values must be finite (minimum {low.item()}, maximum {high.item()})")
        elif key.endswith(("running_var", "num_batches_tracked")) and low < 0:
            faults.append(f"{key}: no value may be negative (minimum {low.item()})")
    return faults
