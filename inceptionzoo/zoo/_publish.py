"""Give a model away: a folder or a Hub repository in timm's layout, and files of one library's made another's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import ArgumentError, DownloadError, WeightsError, check_path
from ..nn import Net, Report
from ..spec import Entry
from ..weights import PREFIX, WeightSource, atomic_write, describe_model, read_weights, save_weights
from ..weights.download import CONFIG, WEIGHTS, is_reference
from ._create import create_model
from ._registry import list_models


def save_pretrained(
    model: Net,
    folder: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    metrics: Mapping[str, float] | None = None,
    license: str | None = None,
    datasets: Sequence[str] = (),
    description: str = "",
) -> None:
    """Write config.json, model.safetensors and README.md, a model card, to a folder that is made where there is none.

    `create_model("local-dir:FOLDER")` builds the model from it, and "hf-hub:OWNER/NAME" once it is uploaded. The layout is
    timm's. `metrics` are what was measured, `license` and `datasets` identifiers of the Hub.

    Raises:
        ArgumentError: as `save_weights`; or a text is none.
        OSError: the disk refuses.
    """
    for name, value in (("license", license), ("description", description)):
        if value is not None and not isinstance(value, str):
            raise ArgumentError(f"{name}={value!r} must be a string")
    if isinstance(datasets, str) or not all(isinstance(item, str) for item in datasets):
        raise ArgumentError(f"datasets={datasets!r} must be a list of names of the Hub's data sets")
    if getattr(model, "fused", False):
        raise ArgumentError(
            "the model is fused, which timm cannot read; give away the one it was made from, or use save_weights"
        )
    place, names = check_path("folder", folder), None if class_names is None else tuple(class_names)
    describe_model(model, class_names=names, metrics=metrics)  # refuses before the folder is made
    place.mkdir(parents=True, exist_ok=True)
    save_weights(model, place / WEIGHTS, class_names=names, metrics=metrics)
    labels = model.class_names if names is None else names
    card = _card(model, labels, dict(metrics or {}), license, list(datasets), description)
    for name, text in ((CONFIG, json.dumps(_config(model, labels), indent=2) + "\n"), ("README.md", card)):
        with atomic_write(place / name) as stream:
            stream.write(text.encode())


def push_to_hub(
    model: Net,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool = False,
    revision: str | None = None,
    commit_message: str = "Add model",
    **card: Any,
) -> str:
    """Upload what `save_pretrained(model, ..., **card)` writes to a repository and return the commit's URL.

    The repository is made where there is none; `revision` is a branch that exists.

    Raises:
        ArgumentError: as `save_pretrained`; nothing is uploaded then.
        DownloadError: the Hub refuses or is not reached.
    """
    import tempfile

    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, **card)
        page = Path(folder) / "README.md"
        page.write_text(page.read_text("utf-8").replace("OWNER/NAME", repo_id), "utf-8")
        try:
            api = HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            done = api.upload_folder(repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message)
        except ValueError as error:  # a malformed id, which the library checks before it asks
            raise ArgumentError(f"repo_id={repo_id!r}: {error}") from error
        except Exception as error:  # of whatever HTTP library it uses
            said = " ".join(str(error).split())
            raise DownloadError(f"{repo_id} was not uploaded: {said}; check its name and HF_TOKEN, or try later") from error
    return str(done.commit_url)


def _config(model: Net, labels: Sequence[str] | None) -> dict[str, Any]:
    """Return timm's description of a model, under a name that no architecture of timm's has."""
    arguments = model.arguments | ({} if model.global_pool == "avg" else {"global_pool": model.global_pool})
    arguments |= {} if model.in_chans == _entry(model).data.input_size[0] else {"in_chans": model.in_chans}
    config = {
        "architecture": f"{PREFIX}{_entry(model).name}",
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "global_pool": model.global_pool,
        "model_args": {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()},
        "pretrained_cfg": {**model.data.to_json(), "num_classes": model.num_classes},
    }
    return config | ({"label_names": list(labels)} if labels else {})


def _entry(model: Net) -> Entry:
    assert model.entry is not None  # save_weights has refused a model without one
    return model.entry


def _card(
    model: Net, labels: Sequence[str] | None, metrics: Mapping[str, float], license: str | None, datasets: list[str], text: str
) -> str:
    """Return the README.md of a repository: what the Hub reads at its head, and what people read."""
    from huggingface_hub import ModelCardData

    entry, (channels, height, width) = _entry(model), model.data.input_size
    head = ModelCardData(
        license=license,
        library_name="inceptionzoo",
        tags=["image-classification", "inceptionzoo", "pytorch"],
        datasets=datasets or None,
        pipeline_tag="image-classification",
    )
    rows = [f"| {name} | {value:.4g} |" for name, value in metrics.items()]
    measured = ["## Metrics", "", "| metric | value |", "| --- | ---: |", *rows, ""] if rows else []
    data = ["## Data", "", *(f"- {name}" for name in datasets), ""] if datasets else []
    classes = f"{model.num_classes} classes" + (f": {', '.join(labels)}" if labels and len(labels) <= 20 else "")
    lines = [
        "---", head.to_yaml(), "---", "",
        f"# {entry.name}", "",
        *([text, ""] if text else []),
        f"{entry.about}. {entry.paper}".strip(". ") + ".", "",
        f"- {sum(parameter.numel() for parameter in model.parameters()):,} parameters, {classes}",
        f"- images of {height}x{width} px and {channels} channels, "
        f"mean {_numbers(model.data.mean)}, standard deviation {_numbers(model.data.std)}",
        f"- licence: {license or 'not stated'}", "",
        *measured, *data,
        "## Use", "",
        "```python",
        "import inceptionzoo as iz", "",
        'model = iz.create_model("hf-hub:OWNER/NAME").eval()  # or "local-dir:FOLDER"',
        'print(iz.predict(model, "image.jpg"))',
        "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def convert(
    source: str | os.PathLike[str] | Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    class_names: Sequence[str] | None = None,
    metrics: Mapping[str, float] | None = None,
    progress: bool | None = None,
    **arguments: Any,
) -> Report:
    """Make a .safetensors file of ours of a .pth file, a .safetensors file of another library's, or a repository.

    `architecture` is our name of the model, which a repository or a file of ours says itself; `arguments` are those of
    `create_model`. A progress bar appears on a terminal; `progress` overrides that.

    Raises:
        ArgumentError: the architecture is missing; the message lists those whose names of tensors fit.
        WeightsError: as `create_model`.
    """
    model: Net
    with tqdm(total=3, desc="read", disable=None if progress is None else not progress, leave=False) as bar:
        if is_reference(source):
            model = create_model(str(source), **arguments)
            if architecture not in (None, _entry(model).name):
                raise ArgumentError(f"architecture={architecture!r}: {source} holds {_entry(model).name!r}; leave it out")
        elif architecture:
            model = create_model(architecture, weights=source, **arguments)
        else:
            read = read_weights(source)
            model = create_model(_architecture(read), weights=read, **arguments)
        bar.update(2)
        bar.set_description("write")
        names = None if class_names is None else tuple(class_names)
        save_weights(model, path, class_names=names, metrics=metrics)
        bar.update()
    assert model.report is not None  # weights were loaded
    return model.report


def _architecture(read: WeightSource) -> str:
    """Return the architecture that a file of ours names.

    Raises:
        ArgumentError: it names none.
    """
    if read.metadata is not None:
        return read.metadata.architecture
    fitting = [name for name in list_models() if _fits(name, read.tensors)]
    hint = f"its tensors fit {', '.join(fitting)}" if fitting else "its tensors fit none of list_models()"
    raise ArgumentError(f"{read.name} does not say which model it holds: pass architecture=NAME; {hint}")


def _fits(name: str, tensors: Mapping[str, Any]) -> bool:
    """Return whether tensors have the names and shapes of a model, its head's and its first layer's apart."""
    try:
        create_model(name, weights=tensors, device="meta")
    except WeightsError:
        return False
    return True
