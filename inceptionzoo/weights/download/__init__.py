"""Weight files from the Hugging Face Hub and other hosts, checked, in the caches that other tools share."""

from ._checkpoints import read_checkpoint
from ._hub import CONFIG, HUB, WEIGHTS, is_reference, open_repository

__all__ = ["CONFIG", "HUB", "WEIGHTS", "is_reference", "open_repository", "read_checkpoint"]
