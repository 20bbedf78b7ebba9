"""Weight files from the Hugging Face Hub and other hosts: downloaded, checked and cached."""

from ._cache import cache_folder
from ._checkpoints import read_checkpoint
from ._hub import CONFIG, WEIGHTS, open_repository
from ._reference import HUB, is_reference

__all__ = ["CONFIG", "HUB", "WEIGHTS", "cache_folder", "is_reference", "open_repository", "read_checkpoint"]
