"""What was done to load weights into a model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """What `load_weights` did. Keys are the model's own.

    `renamed` maps the source's names to ours; `adapted` says of a key what was changed in its values or shape; `replaced`
    are heads of another size that the model's own stand for; `dropped` are tensors of the source without a place here;
    `left_random` are parameters that kept the random values they had. `taken` is the part of a checkpoint that was read;
    `differs` says how the model is another than the one that was saved: in an argument, its images, its class names.
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
        lines += [f"adapted: {key}: {how}" for key, how in self.adapted.items()]
        lines += [f"differs: {name}: {how}" for name, how in self.differs.items()]
        for name in ("replaced", "dropped", "left_random"):
            keys = getattr(self, name)
            lines += [f"{name}: {', '.join(keys)}"] if keys else []
        return "\n".join(lines)
