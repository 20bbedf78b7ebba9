"""How a model differs from the modules that its specification gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..errors import ArgumentError
from ..spec import out_channels
from ._backbone import Backbone
from ._blocks import Steps
from ._build import build_aux_head, build_layer
from ._device import is_sharded, placeholder_device
from ._feature_net import FeatureNet
from ._heads import ClassifierHead
from ._layers import BATCH_NORMS
from ._net import Net
from ._parts import Change, Part, children, parts, qualified_name
from ._private_torch import hook_names, uncompiled

METHODS = "forward", "forward_features", "forward_head", "forward_stages", "run_stage"
BATCH_NORM_KINDS = frozenset(map(qualified_name, BATCH_NORMS))
MAX_LISTED = 3  # changes in one message
UNDO = (
    "undo this, register a network of your own that contains it (Op, register_model), or keep the weights alone: "
    "torch.save(model.state_dict(), path)"
)
REPLACED = {  # by the ending of a tensor that stands in place of another: what was done, and the function that undoes it
    "mask": ("is pruned", "prune.remove"),
    "u": ("has spectral normalisation", "remove_spectral_norm"),
    "g": ("has weight normalisation", "remove_weight_norm"),
}
UNFREEZE = "call timm.layers.unfreeze_batch_norm_2d(model) first"
UNSHARD = (
    "pass torch.distributed.checkpoint.state_dict.get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)) "
    "to load_weights of a model that is not sharded"
)


def describe_changes(model: Backbone[Any]) -> list[Change]:
    """Return how a `Net` or `FeatureNet` differs from the modules that its specification gives.

    A change is a module that was replaced, added or removed, a setting of one, the name or shape of a tensor (as after
    pruning), a hook, or a method that was replaced. The values of tensors, `requires_grad`, the training mode, the momentum of
    batch normalisation and the number of classes may be any.
    """
    if is_sharded(model):
        return [Change("", "has sharded parameters (DTensor)", remedy=UNSHARD)]
    record, expected = model.fused_record, parts(_reference(model))
    if record is None:
        return list(_changes("", model, expected))
    expected |= {f"features.{name}".rstrip("."): part for name, part in record.parts.items()}
    return [*record.changes, *_changes("", model, expected)]


def changed_parts(model: Backbone[Any]) -> list[Change]:
    """Return the changes of `describe_changes` that are no hooks: those of the specification."""
    return [change for change in describe_changes(model) if change.kind != "hook"]


def check_unchanged(model: Net, problem: str) -> None:
    """Check that the model's specification still describes it; hooks are ignored.

    Raises:
        ArgumentError: it does not. The message begins with `problem` and names the parts.
    """
    if changes := changed_parts(model):
        remedy = next((change.remedy for change in changes if change.remedy), UNDO)
        raise ArgumentError(f"{problem}: {list_changes(changes)}; its name and arguments build no such model; {remedy}")


def warn_of_hooks(model: nn.Module, *, stacklevel: int) -> None:
    """Warn if hooks are registered on the model, which a file does not hold. `stacklevel` is that of the caller."""
    named = [(name, hook_names(module)) for name, module in model.named_modules()]
    if hooks := [_hooks(name, names) for name, names in named if names]:
        warnings.warn(f"{list_changes(hooks)}, which the file does not hold", stacklevel=stacklevel + 1)


def list_changes(changes: Sequence[Change]) -> str:
    """Return the changes as text; of many, the first few."""
    more = f"; and {len(changes) - MAX_LISTED} more" if len(changes) > MAX_LISTED else ""
    return "; ".join(map(str, changes[:MAX_LISTED])) + more


def _changes(name: str, module: nn.Module, expected: Mapping[str, Part]) -> Iterator[Change]:
    """Yield the changes of a module and of those in it; of a module of another type, no more than that."""
    part, wanted, own = Part.of(module), expected[name], children(module)
    if name and part.kind != wanted.kind and not _is_synchronised(module, wanted):
        yield _other_type(name, module, part.kind, wanted.kind)
        return
    if part.tensors != wanted.tensors:
        yield _other_tensors(name, part.tensors, wanted.tensors)
    elif hooks := hook_names(module):  # a pruned module has a hook too
        yield _hooks(name, hooks)
    for key, value in wanted.settings.items():
        if key not in own and part.settings.get(key) != value:
            yield Change(name, f"has {key}={vars(module).get(key)!r}, not {value!r}")
            break
    yield from _methods(name, module)
    yield from _other_children(name, part.children, wanted.children)
    for child_name, child in own.items():
        if child_name in wanted.children:
            yield from _changes(f"{name}.{child_name}".lstrip("."), child, expected)


def _is_synchronised(module: nn.Module, wanted: Part) -> bool:
    """Return whether `SyncBatchNorm` is in the place of batch normalisation, which it becomes in a file."""
    return type(module) is nn.SyncBatchNorm and wanted.kind in BATCH_NORM_KINDS


def _hooks(name: str, hooks: Sequence[str]) -> Change:
    return Change(name, f"has the hooks {', '.join(hooks)}", "hook")


def _other_type(name: str, module: nn.Module, kind: str, wanted: str) -> Change:
    if parametrize.is_parametrized(module):
        (tensor, *_) = module.parametrizations  # type: ignore[misc]  # a ModuleDict
        remedy = f"call torch.nn.utils.parametrize.remove_parametrizations(model.get_submodule({name!r}), {tensor!r}) first"
        return Change(name, f"has a parametrization of {tensor}", remedy=remedy)
    short, short_wanted = (text.rpartition(".")[2] for text in (kind, wanted))
    if short == short_wanted:
        short, short_wanted = kind, wanted
    remedy = UNFREEZE if short.startswith("FrozenBatchNorm") else ""
    if uncompiled(module) is not module:
        remedy = f"compile it in place, by model.get_submodule({name!r}).compile(), and not by torch.compile"
    return Change(name, f"is of type {short}, not {short_wanted}", remedy=remedy)


def _other_tensors(name: str, found: Mapping[str, tuple[Any, ...]], wanted: Mapping[str, tuple[Any, ...]]) -> Change:
    for key, (ending, (what, undo)) in product(wanted, REPLACED.items()):
        if f"{key}_{ending}" in found:
            remedy = f"call torch.nn.utils.{undo}(model.get_submodule({name!r}), {key!r}) first"
            tensors = " and ".join(each for each in found if each.startswith(f"{key}_"))
            return Change(name, f"{what}: it has {tensors} in place of {key}", remedy=remedy)
    if missing := [key for key in wanted if key not in found]:
        extra = [key for key in found if key not in wanted]
        return Change(name, f"has no {missing[0]}" + (f", but {', '.join(extra)}" if extra else ""))
    if extra := [key for key in found if key not in wanted]:
        return Change(name, f"has {', '.join(extra)}, which the network does not have")
    key = next(key for key in wanted if found[key] != wanted[key])
    return Change(name, f"has {key} of shape {found[key]}, not {wanted[key]}")


def _methods(name: str, module: nn.Module) -> Iterator[Change]:
    """Yield the methods that were replaced on this instance, or for a model by its class."""
    for key, value in vars(module).items():
        original = getattr(type(module), key, None)
        if callable(value) and callable(original) and not isinstance(value, nn.Module) and not _is_own(value, original, module):
            yield Change(name, f"has a {key} of its own", "method")
    if isinstance(module, Backbone):
        base = FeatureNet if isinstance(module, FeatureNet) else Net
        for key in METHODS:
            if getattr(type(module), key, None) is not getattr(base, key, None):
                yield Change(name, f"is of type {type(module).__name__}, which has a {key} of its own")


def _is_own(value: object, original: object, module: nn.Module) -> bool:
    """Return whether an attribute is the bound method of the class, which accelerate leaves on a model that it unwraps."""
    return getattr(value, "__func__", None) is original and getattr(value, "__self__", None) is module


def _other_children(name: str, found: Sequence[str], wanted: Sequence[str]) -> Iterator[Change]:
    prefix = f"{name}." if name else ""
    for child in found:
        if child not in wanted:
            hint = "" if name else " (the classifier is head.fc)"
            yield Change(f"{prefix}{child}", f"is not a part of the network{hint}", "child")
    for child in wanted:
        if child not in found:
            yield Change(f"{prefix}{child}", "is missing", "child")
    if found != wanted and set(found) == set(wanted) and name:
        yield Change(name, "has its modules in another order")


def _reference(model: Backbone[Any]) -> nn.ModuleDict:
    """Return the features, head and auxiliary heads that the specification gives, without memory where that is possible."""
    network, features, channels = model.network, Steps(), model.in_chans
    with torch.random.fork_rng(devices=[]):  # modules of the user's own may draw random weights
        for name, layer in network.stages:
            with placeholder_device(network.style, layer):
                features.add_module(name, build_layer(layer, channels, network.style))
            channels = out_channels(layer, channels)
        reference = nn.ModuleDict({"features": features})
        if isinstance(model, Net):
            with torch.device("meta"):
                reference["head"] = _reference_head(model)
            if isinstance(model.aux, nn.ModuleDict):
                with placeholder_device(network.style, *(aux.layers for aux in network.aux)):
                    heads = {aux.tap: build_aux_head(aux, model) for aux in network.aux if aux.tap in model.aux}
                    reference["aux"] = nn.ModuleDict(heads)
    return reference


def _reference_head(model: Net) -> ClassifierHead:
    head, classes = model.head, model.num_classes
    if isinstance(head, ClassifierHead):
        classes = classes if head.global_pool else 0
        return ClassifierHead(head.spec, head.in_channels, classes, head.global_pool, head.drop_rate, head.dims)
    spec, dims = model.network.head, model.network.spatial_dims
    return ClassifierHead(spec, model.num_features, classes, "avg", spec.drop_rate, dims)
