"""Find where in a checkpoint the tensors of a model are: in which part, and under which prefix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from ..errors import MismatchError
from ..nn import private_torch
from ..spec import NATIVE, Conv, Depthwise, Layout, Network, named_leaves
from ._parts import Part
from ._source import WeightSource

# Names of modules that contain another one and add nothing to it: DataParallel, DistributedDataParallel and AveragedModel;
# torch.compile; FSDP; activation checkpointing.
CONTAINERS = frozenset({"module", private_torch.COMPILED_MODULE, "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
AVERAGED = frozenset({"ema", "swa", "averaged", "average"})  # words in the name of averaged weights
ONLINE = "online"  # ema_pytorch calls the model so that it averages
BEFORE_AVERAGING = "current_model_state"  # Lightning keeps the averaged weights beside it


@dataclass(frozen=True, slots=True)
class Location:
    """A part of a checkpoint and a prefix under which `found` names of a model are, in the layout `layout`.

    `source` is the checkpoint's name, for errors. `containers` are the components of names that are left out.
    """

    source: str
    part: Part
    prefix: str
    layout: Layout
    found: int
    containers: frozenset[str]

    @property
    def label(self) -> str:
        """The keys that lead to the part, and the prefix without containers, as `Report.taken` shows it."""
        prefix = _without(self.prefix, self.containers)
        return ".".join([*self.part.path, *([f"{prefix}*"] if prefix else [])])

    @property
    def preference(self) -> int:
        """0 for averaged weights, 2 for those that Lightning has replaced by averaged ones, 1 for others."""
        words = {word for name in (*self.part.path, *self.prefix.split(".")) for word in name.lower().split("_")}
        return 0 if words & AVERAGED and ONLINE not in words else 2 if BEFORE_AVERAGING in self.part.path else 1

    def source_names(self) -> dict[str, str]:
        """Return {name without the prefix and containers: name in the part}.

        Raises:
            MismatchError: two names become the same.
        """
        names: dict[str, str] = {}
        for original in self.part.tensors:
            if not original.startswith(self.prefix):
                continue
            name = _without(original.removeprefix(self.prefix), self.containers)
            if name in names:
                raise MismatchError(f"{self.source}: {name!r} appears twice without its prefixes; remove one of the two")
            names[name] = original
        return names

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors under the prefix, by their names without it.

        Raises:
            MismatchError: as `source_names`.
        """
        return {name: self.part.tensors[original] for name, original in self.source_names().items()}


def find_locations(keys: Iterable[str], source: WeightSource, layouts: tuple[Layout, ...]) -> list[Location]:
    """Return where names of the model's `keys` are, in this library's layout or another; where most are comes first.

    A name belongs to a key if it ends with the key's name in the layout, after a dot or at its beginning. What stands before is
    the prefix. Names of containers do not count.
    """
    keys = list(keys)
    containers = CONTAINERS - {component for key in keys for component in key.split(".")}
    tables = [(layout, frozenset(layout.table(keys).values())) for layout in (NATIVE, *layouts)]
    longest = max((name.count(".") + 1 for _, table in tables for name in table), default=0)
    locations = []
    for part in parts_of(source):
        endings = [list(_endings(name, longest, containers)) for name in part.tensors]
        best: dict[str, tuple[int, Layout]] = {}
        for layout, table in tables:
            counts = Counter(prefix for pairs in endings for ending, prefix in pairs if ending in table)
            for prefix, count in counts.items():
                if count > best.get(prefix, (0, layout))[0]:
                    best[prefix] = count, layout
        locations += [
            Location(source.name, part, prefix, layout, count, containers) for prefix, (count, layout) in best.items()
        ]
    return sorted(locations, key=lambda place: (-place.found, place.preference, len(place.prefix)))


def _endings(name: str, longest: int, containers: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield (ending, prefix) of a name, for each ending of at most `longest` components; containers are left out of it.

    Where containers precede the ending, the prefix is given with them and without them.
    """
    components, ending = name.split("."), ""
    count, at = 0, len(components)
    while at and count < longest:
        at -= 1
        if components[at] in containers:
            continue
        ending, count = f"{components[at]}.{ending}" if ending else components[at], count + 1
        yield ending, "".join(f"{component}." for component in components[:at])
        start = at
        while start and components[start - 1] in containers:
            start -= 1
        if start != at:
            yield ending, "".join(f"{component}." for component in components[:start])


def _without(name: str, containers: frozenset[str]) -> str:
    """Return a name without the components that are containers."""
    return ".".join(component for component in name.split(".") if component not in containers)


def parts_of(source: WeightSource) -> tuple[Part, ...]:
    """Return the parts of a checkpoint; all tensors of a file without parts are one."""
    return source.parts or (Part((), source.tensors, {}),)


def locate_network(network: Network, source: WeightSource, layouts: tuple[Layout, ...]) -> Location | None:
    """Return where most names of a network's convolutions and of its head are; None if there are none. Nothing is built."""
    keys = [f"{path}.conv.weight" for path, _ in _convolutions(network)]
    keys += ["head.fc.weight", *(f"head.hidden.fc{number}.weight" for number in range(1, len(network.head.hidden) + 1))]
    return next(iter(find_locations(keys, source, layouts)), None)


def first_convolution(network: Network) -> tuple[str, Conv | Depthwise | None]:
    """Return the state-dict key of the first convolution's weight, and the layer; ("", None) if there is none."""
    return next(((f"{path}.conv.weight", layer) for path, layer in _convolutions(network)), ("", None))


def _convolutions(network: Network) -> Iterator[tuple[str, Conv | Depthwise]]:
    for name, layer in network.stages:
        for path, leaf in named_leaves(layer, f"features.{name}"):
            if isinstance(leaf, Conv | Depthwise):
                yield path, leaf
