"""Describe a model in the files of a Hub repository: config.json, in timm's format, and README.md, the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..nn import CLASS_TASKS, Net
from ..spec import Entry, format_size
from ..weights import PREFIX, problem_type
from ._decode import MODES

PLACEHOLDER = "OWNER/NAME"  # the repository's id until the model is uploaded
MAX_LISTED_CLASSES = 20  # the card does not list more class names


def model_config(model: Net, class_names: Sequence[str] | None) -> dict[str, Any]:
    """Return the contents of config.json. The architecture is "izoo_NAME", a name that timm itself does not use.

    NAME is "" for a network without a name.
    """
    entry = _entry(model)
    arguments = dict(model.arguments)
    if model.global_pool != "avg":
        arguments["global_pool"] = model.global_pool
    if model.in_chans != entry.data.input_size[0]:
        arguments["in_chans"] = model.in_chans
    names = list(class_names or ())[-model.num_classes :]  # of two names for one output, timm and transformers take the second
    config = {
        "architecture": f"{PREFIX}{entry.name}",
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "global_pool": model.global_pool,
        "model_args": {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()},
        "pretrained_cfg": {**model.data.to_json(), "num_classes": model.num_classes},
    }
    optional = {"label_names": names, "problem_type": problem_type(model.task, model.num_classes)}
    return config | {key: value for key, value in optional.items() if value}


def model_card(
    model: Net,
    *,
    class_names: Sequence[str] | None,
    metrics: Mapping[str, float],
    license: str | None,
    datasets: Sequence[str],
    description: str,
) -> str:
    """Return the contents of README.md. A "?" stands for what UTF-8 cannot hold: part of the name of a file or folder."""
    entry = _entry(model)
    sections = [
        f"---\n{_front_matter(model, license, datasets)}\n---",
        f"# {entry.name or 'A network without a name'}",
        description,
        f"{text}." if (text := f"{entry.about}. {entry.paper}".strip(". ")) else "",
        _facts(model, class_names, license),
        _metrics_table(metrics),
        "## Data\n\n" + "\n".join(f"- {name}" for name in datasets) if datasets else "",
        _usage(model),
    ]
    card = "\n\n".join(section for section in sections if section) + "\n"
    return card.encode(errors="replace").decode()


def _front_matter(model: Net, license: str | None, datasets: Sequence[str]) -> str:
    """Return the YAML that the Hub reads."""
    from huggingface_hub import ModelCardData

    pipeline = _pipeline(model)
    return ModelCardData(
        license=license,
        library_name="inceptionzoo",
        tags=[*([pipeline] if pipeline else []), "inceptionzoo", "pytorch"],
        datasets=list(datasets) or None,
        pipeline_tag=pipeline,
    ).to_yaml()


def _pipeline(model: Net) -> str | None:
    """Return the Hub's name of what the model does, or None if the Hub has none."""
    if not model.num_classes:
        return {2: "image-feature-extraction"}.get(model.network.spatial_dims)
    classifies = model.task in CLASS_TASKS
    return {2: "image-classification", 3: "video-classification"}.get(model.network.spatial_dims) if classifies else None


def _usage(model: Net) -> str:
    """Return how to load the model and run it: `predict` if it takes a file, else the call."""
    shape = ", ".join(map(str, (1, *model.data.sized(model.in_chans, *model.data.size).input_size)))
    takes_files = model.num_classes and model.network.spatial_dims == 2 and model.in_chans in MODES
    lines = ["import inceptionzoo as iz", *([] if takes_files else ["import torch"]), ""]
    lines.append(f'model = iz.create_model("hf-hub:{PLACEHOLDER}").eval()  # or "local-dir:FOLDER"')
    lines.append('print(iz.predict(model, "image.jpg"))' if takes_files else f"print(model(torch.zeros({shape})).shape)")
    return "\n".join(["## Use", "", "```python", *lines, "```"])


def _facts(model: Net, class_names: Sequence[str] | None, license: str | None) -> str:
    params = sum(parameter.numel() for parameter in model.parameters())
    names = f": {', '.join(map(_one_line, class_names))}" if class_names and len(class_names) <= MAX_LISTED_CLASSES else ""
    size = format_size(model.data.size)
    mean, std = _numbers(model.data.mean), _numbers(model.data.std)
    meaning = "classes" if model.task in CLASS_TASKS else "outputs"
    outputs = f"{model.num_classes} {meaning}{names}" if model.num_classes else "features"
    kind = {1: "signals", 2: "images", 3: "clips"}[model.network.spatial_dims]
    return (
        f"- {params:,} parameters, {outputs}\n"
        f"- {kind} of {size} px and {model.in_chans} channels, mean {mean}, standard deviation {std}\n"
        f"- licence: {license or 'not stated'}"
    )


def _metrics_table(metrics: Mapping[str, float]) -> str:
    names = [_one_line(name).replace("|", r"\|") for name in metrics]
    rows = [f"| {name} | {value:.4g} |" for name, value in zip(names, metrics.values(), strict=True)]
    return "\n".join(["## Metrics", "", "| metric | value |", "| --- | ---: |", *rows]) if rows else ""


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _entry(model: Net) -> Entry:
    """Return the model's entry; one without a name for a model of `build`."""
    return model.entry or Entry(name="", network=model.network, paper="", data=model.data)
