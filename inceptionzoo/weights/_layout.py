"""Recognise which library's tensor names a state dict has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import MismatchError
from ..spec import NATIVE, Layout

BATCH_COUNTER = ".num_batches_tracked"  # absent from checkpoints older than torch 0.4.1
PROFILED = "total_ops", "total_params"  # buffers that thop adds to every module
SAVED_CHANGED = (  # a pattern of extra names; their cause and the remedy
    (r".*weight_u", "it has spectral normalisation: call torch.nn.utils.remove_spectral_norm(layer) before saving it"),
    (r".*_(orig|mask)", "layers of it are pruned: call torch.nn.utils.prune.remove(layer, 'weight') before saving it"),
    (r".*weight_[gv]", "it has weight normalisation: call torch.nn.utils.remove_weight_norm(layer) before saving it"),
    (
        r".*parametrizations\..*",
        "it is parametrized: call torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') before saving it",
    ),
    (r".*(lora_|base_layer).*", "it has LoRA adapters: merge them before saving it (peft: merge_and_unload)"),
    (r".*(activation_post_process|fake_quant|zero_point).*", "it is quantized: save it before quantization"),
)
SHARD = re.compile(r"-\d{5}-of-\d{5}\.")  # in the name of one of several files
CLASSIFIER_WEIGHT = "head.fc.weight"
CLASSIFIER = CLASSIFIER_WEIGHT, "head.fc.bias"


@dataclass(slots=True)
class LayoutMatch:
    """How well a layout (`rules`) fits a source's names.

    `table` maps the model's keys to the source's. `missing` are required names that the source lacks, `extra` are names that
    the model lacks. `dropped` are the source's tensors of heads and stages that the model lacks. `absent` are the model's
    optional keys that the source lacks.
    """

    rules: Layout
    table: dict[str, str]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def layout(self) -> str:
        """The name of the layout."""
        return self.rules.name

    @property
    def distance(self) -> int:
        """Number of names that differ; 0 if the layout fits."""
        return len(self.missing) + len(self.extra)

    @property
    def found(self) -> int:
        """Number of the model's keys that the source has."""
        return len(self.table) - len(self.missing) - len(self.absent)


def is_classifier(key: str) -> bool:
    """Return whether a model's key belongs to the last layer of a head, auxiliary heads included."""
    return key in CLASSIFIER or (key.startswith("aux.") and ".head.fc." in key)


def is_batch_counter(key: str) -> bool:
    """Return whether a key is batch normalisation's number of batches seen, which does not affect the outputs."""
    return key.endswith(BATCH_COUNTER)


def rank_layouts(
    ours: Iterable[str],
    theirs: Iterable[str],
    layouts: tuple[Layout, ...],
    *,
    new_head: bool = False,
    removed: Iterable[str] = (),
) -> list[LayoutMatch]:
    """Return how each layout fits a source's names (`theirs`) to the model's keys (`ours`), the best first.

    This library's layout comes before others that fit as well. Batch counters may be absent; with `new_head` classifiers or the
    whole head too. Auxiliary heads that the model lacks are dropped, and batch counters that its normalisation lacks. So are
    `removed`, the keys of stages that the model lacks, and the head or the classifier if the model has none, or has other
    layers there and `new_head` keeps them.
    """
    ours, theirs, removed = list(ours), dict.fromkeys(theirs), list(removed)
    matches = []
    for layout in (NATIVE, *layouts):
        may_be_absent = {key for key in ours if is_batch_counter(key) or (new_head and is_classifier(key))}
        other_head = new_head and not any(layout.theirs(key) in theirs for key in ours if key.startswith("head."))
        if other_head:
            may_be_absent |= {key for key in ours if key.startswith("head.")}
        to_drop = _names_to_drop(layout, ours, removed, other_head=other_head)
        matches.append(_match(layout, ours, theirs, may_be_absent, to_drop))
    return sorted(matches, key=lambda match: (match.distance, len(match.absent)))


def match_layout(
    ours: Iterable[str],
    theirs: Iterable[str],
    layouts: tuple[Layout, ...],
    name: str,
    *,
    new_head: bool = False,
    removed: Iterable[str] = (),
) -> LayoutMatch:
    """Return the layout that fits; see `rank_layouts`. `name` is the source's name, for errors.

    Raises:
        MismatchError: no layout fits; the message shows the three nearest and the first names that differ.
    """
    ours = list(ours)
    matches = rank_layouts(ours, theirs, layouts, new_head=new_head, removed=removed)
    best = matches[0]
    if best.distance == 0:
        return best
    if not any(match.found for match in matches):
        raise MismatchError(f"{name}: no tensor has a name of this model; use weights of the same architecture")
    nearest = "; ".join(map(_describe_differences, matches[:3]))
    raise MismatchError(
        f"{name}: the names match no known layout; {best.found} of the model's {len(ours)} are there in the layout "
        f"{best.layout!r}; nearest: {nearest}; {_remedy(best, name)}"
    )


def _remedy(best: LayoutMatch, source: str) -> str:
    """Return what to do about the names that differ from the nearest layout's."""
    if best.missing and SHARD.search(source):
        return "this is one file of several: read each with safetensors.torch.load_file, and pass one state dict of all"
    for pattern, change in SAVED_CHANGED:
        if any(re.fullmatch(pattern, key) for key in best.extra):
            return f"the saved model was changed: {change}"
    scales = {theirs for ours, theirs in best.table.items() if ours.endswith(".bn.weight")}
    if best.missing and not best.extra and set(best.missing) <= scales:
        return "if it has no scale in batch normalisation (Keras's scale=False), add tensors of ones under these names"
    head = {theirs for ours, theirs in best.table.items() if ours.startswith("head.") and not is_batch_counter(ours)}
    extra_is_head = all(key.startswith(tuple(_head_prefixes(best.rules))) for key in best.extra)
    if best.missing and set(best.missing) == head and extra_is_head:
        other = "another head" if best.extra else "no head"
        return (
            f"these weights have {other}: pass new_head=True to keep the model's own, or create_model(..., weights=FILE, "
            "num_classes=N)"
        )
    aux = {theirs for ours, theirs in best.table.items() if ours.startswith("aux.")}
    if best.missing and set(best.missing) <= aux and not best.extra:
        return "these weights have no auxiliary heads: load them before with_aux(model), which gives it new ones"
    return "use weights of this model, made with the same arguments"


def _match(
    layout: Layout,
    ours: list[str],
    theirs: Iterable[str],
    may_be_absent: set[str],
    to_drop: tuple[tuple[str, ...], set[str]],
) -> LayoutMatch:
    table = layout.table(ours)
    present, known = set(theirs), set(table.values())
    prefixes, names = to_drop
    extra = [key for key in theirs if key not in known]
    lacking = [key for key in table if table[key] not in present]
    is_part = layout.has_other_layers and len(lacking) < len(table)
    dropped = extra if is_part else [key for key in extra if _is_dropped(key, prefixes, names)]
    return LayoutMatch(
        layout,
        table,
        missing=[table[key] for key in lacking if key not in may_be_absent],
        extra=[key for key in extra if key not in set(dropped)],
        dropped=dropped,
        absent=[key for key in lacking if key in may_be_absent],
    )


def _is_dropped(key: str, prefixes: tuple[str, ...], names: set[str]) -> bool:
    return key in names or key.startswith(prefixes) or key.rpartition(".")[2] in PROFILED


def _names_to_drop(
    layout: Layout, ours: list[str], removed: list[str], *, other_head: bool
) -> tuple[tuple[str, ...], set[str]]:
    """Return the prefixes and the names of the source's tensors that a model without these heads and stages drops.

    `other_head` says that the source's head has none of the model's names, and that the model keeps its own.
    """
    counters = [key.replace(".running_var", BATCH_COUNTER) for key in ours if key.endswith(".running_var")]
    names = {layout.theirs(key) for key in (*removed, *counters)}
    prefixes = [theirs for ours, theirs in layout.prefixes if ours.startswith("aux.")] or ["aux."]
    if other_head or not any(key.startswith("head.") for key in ours):
        prefixes += _head_prefixes(layout)
    elif not any(key in CLASSIFIER for key in ours):
        names |= {layout.theirs(key) for key in CLASSIFIER}
    return tuple(prefixes), names


def _head_prefixes(layout: Layout) -> list[str]:
    return ["head.", *(theirs for ours, theirs in layout.prefixes if ours.startswith("head."))]


def _describe_differences(match: LayoutMatch) -> str:
    missing = f"{len(match.missing)} missing ({', '.join(match.missing[:2])})" if match.missing else "none missing"
    extra = f"{len(match.extra)} unknown ({', '.join(match.extra[:2])})" if match.extra else "none unknown"
    return f"{match.layout}: {missing}, {extra}"
