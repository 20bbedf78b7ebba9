"""The report of loading weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

BATCH_COUNTER = "num_batches_tracked"


@dataclass(slots=True)
class Report:
    """What `load_weights` did. A key is a name in the model's state dict, a source name one in the loaded file.

    - `layout`: the library that the source's tensor names come from.
    - `renamed`: {source name: key}, if they differ.
    - `adapted`: {key: how its shape or values were changed}.
    - `replaced`: keys of the classifier that were not loaded, because the source's has another size or is missing.
    - `dropped`: source names that the model has no key for.
    - `left_random`: keys that kept their random initial values.
    - `taken`: the part of a checkpoint that was read.
    - `differs`: {setting: how the model differs from the saved one}, for arguments, preprocessing and class names.
    """

    layout: str
    renamed: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    left_random: list[str] = field(default_factory=list)
    taken: str = field(default="", compare=False)
    differs: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"layout: {self.layout}", *([f"taken: {self.taken}"] if self.taken else []), f"renamed: {len(self.renamed)}"]
        counters = Counter(change for key, change in self.adapted.items() if key.endswith(BATCH_COUNTER))
        lines += [f"adapted: {key}: {change}" for key, change in self.adapted.items() if not key.endswith(BATCH_COUNTER)]
        lines += [f"adapted: *.{BATCH_COUNTER} ({count}): {change}" for change, count in counters.items()]
        lines += [f"differs: {name}: {difference}" for name, difference in self.differs.items()]
        for name in ("replaced", "dropped", "left_random"):
            keys = getattr(self, name)
            lines += [f"{name}: {', '.join(keys)}"] if keys else []
        return "\n".join(lines)
