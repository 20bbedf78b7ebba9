"""The report of loading weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

BATCH_COUNTER = "num_batches_tracked"
SHOWN = 8  # names in a line of the printed report


@dataclass(slots=True)
class Report:
    """What `load_weights` did. A key is a name in the model's state dict, a source name one in the loaded file.

    - `layout`: the library that the source's tensor names come from.
    - `renamed`: {source name: key}, if they differ.
    - `adapted`: {key: how its shape or values were changed}.
    - `replaced`: keys of the head that were not loaded, because the source's has another size or is missing.
    - `dropped`: source names that the model has no key for.
    - `left_random`: keys that kept their random initial values.
    - `taken`: the part of a checkpoint that was read, and the prefix of its names.
    - `differs`: {setting: how the model differs from the saved one}, for arguments, preprocessing, task and class names.
    - `left_over`: the other values and parts of the checkpoint, such as an optimizer's.
    - `published`: the published weights that the source is, and what shows it.
    - `preprocessing`: the preprocessing that the model assumes, if the source states none.
    - `also_fits`: other models that `create_model` could load the source into, if the source does not name its model.

    Two reports are equal if they agree in all but `taken`, `left_over`, `published`, `preprocessing` and `also_fits`. A printed
    report shows the first eight names of each list.
    """

    layout: str
    renamed: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    left_random: list[str] = field(default_factory=list)
    taken: str = field(default="", compare=False)
    differs: dict[str, str] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list, compare=False)
    published: str = field(default="", compare=False)
    preprocessing: str = field(default="", compare=False)
    also_fits: str = field(default="", compare=False)

    def __str__(self) -> str:
        lines = [f"layout: {self.layout}"]
        lines += [f"{name}: {value}" for name in ("published", "taken") if (value := getattr(self, name))]
        lines.append(f"renamed: {len(self.renamed)}")
        counters = Counter(change for key, change in self.adapted.items() if key.endswith(BATCH_COUNTER))
        lines += [f"adapted: {key}: {change}" for key, change in self.adapted.items() if not key.endswith(BATCH_COUNTER)]
        lines += [f"adapted: *.{BATCH_COUNTER} ({count}): {change}" for change, count in counters.items()]
        lines += [f"differs: {name}: {difference}" for name, difference in self.differs.items()]
        for name in ("replaced", "dropped", "left_random", "left_over"):
            names = getattr(self, name)
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines += [f"{name}: {', '.join(names[:SHOWN])}{more}"] if names else []
        lines += [f"{name}: {value}" for name in ("preprocessing", "also_fits") if (value := getattr(self, name))]
        return "\n".join(lines)
