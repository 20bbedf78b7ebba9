"""State-dict keys and shapes of every model, a hash each. `python tests/compatibility/state_dicts.py` rewrites them.

The hashes in `state_dicts.json` may gain lines, for new models, and never change: files that users have saved depend on them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import inceptionzoo as iz

FILE = Path(__file__).with_suffix(".json")


def forms(name: str) -> dict[str, iz.Net]:
    """Return the forms of a model that are saved: the model, the one with auxiliary heads where it has them, the fused one."""
    model = iz.create_model(name, device="meta")
    aux = {f"{name}, with_aux": iz.with_aux(model)} if model.network.aux else {}
    return {name: model, **aux, f"{name}, fused": iz.fuse(model, tune=False)}


def digest(model: iz.Net) -> str:
    """Return the hash of a model's keys, in order, each with its shape and dtype."""
    lines = [f"{key} {tuple(value.shape)} {value.dtype}\n" for key, value in model.state_dict().items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digests() -> dict[str, str]:
    """Return the hash of every form of every model of the library."""
    return {form: digest(model) for name in iz.list_models() for form, model in forms(name).items()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(digests(), indent=1) + "\n")
