"""What the modules of a model are, and how they differ from others, as plain data that can be compared and pickled."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

FREE_SETTINGS = (  # change no evaluation
    "training", "inplace", "momentum", "memory_saving", "masked", "training_ops", "tuned", "cached",
)  # fmt: skip
LIBRARIES = "torch.nn.", "inceptionzoo."


@dataclass(frozen=True, slots=True)
class Part:
    """A module without its values.

    - `kind`: the qualified name of its type.
    - `settings`: its attributes that are numbers, strings or tuples, for types of torch and of this library.
    - `tensors`: the shapes of its own parameters and buffers; for a tensor of a subclass, its type too.
    - `children`: the names of its modules, in order.
    """

    kind: str
    settings: dict[str, Any]
    tensors: dict[str, tuple[Any, ...]]
    children: tuple[str, ...]

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """Return the description of a module."""
        name = qualified_name(type(module))
        settings = {key: value for key, value in vars(module).items() if key[0] != "_" and key not in FREE_SETTINGS}
        tensors = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        return cls(
            name,
            {key: value for key, value in settings.items() if _is_plain(value)} if name.startswith(LIBRARIES) else {},
            {key: _describe(tensor) for key, tensor in tensors.items()},
            tuple(children(module)),
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between a model and its specification.

    - `part`: the module's name in the model, "" for the model itself.
    - `text`: what differs, with a verb: "is of type Sequential, not Linear".
    - `kind`: "hook"; "method", one that was replaced on this instance; "child", a module that is added or missing; or "module".
    - `remedy`: what undoes it, if that is a single call, as the end of an error.
    """

    part: str
    text: str
    kind: str = "module"
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.part or 'the model'} {self.text}"


@dataclass(frozen=True, slots=True)
class FusedRecord:
    """What `fuse` made of a network: the modules of `features`, and the changes of the model that it was given."""

    parts: Mapping[str, Part]
    changes: Sequence[Change]

    def without(self, names: Collection[str]) -> Self:
        """Return the record without the parts `names` of the model, for example "features.conv1", and what is in them."""

        def is_kept(part: str) -> bool:
            return not any(part == name or part.startswith(f"{name}.") for name in names)

        kept = {name: part for name, part in self.parts.items() if is_kept(f"features.{name}")}
        stages = tuple(name for name in kept[""].children if is_kept(f"features.{name}"))
        kept[""] = replace(kept[""], children=stages)
        return replace(self, parts=kept, changes=[change for change in self.changes if is_kept(change.part)])


def qualified_name(kind: type) -> str:
    """Return the name of a type with that of its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def parts(root: nn.Module) -> dict[str, Part]:
    """Return the description of each module of `root`, by name."""
    return {name: Part.of(module) for name, module in root.named_modules(remove_duplicate=False)}


def children(module: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a module by name; `named_children` leaves out one that appears twice."""
    modules = module.named_modules(remove_duplicate=False)
    return {name: child for name, child in modules if name and "." not in name}


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _describe(tensor: Tensor) -> tuple[Any, ...]:
    kind = () if type(tensor) in (Tensor, nn.Parameter) else (type(tensor).__name__,)
    return kind if is_lazy(tensor) else (*tensor.shape, *kind)
