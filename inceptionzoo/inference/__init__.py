"""Fast inference: fused models, their tuning, and the cache of its results."""

from ._fuse import folded_network, fuse, tuned
from ._tuning_cache import clear_tuning_cache, tuning_cache_bytes, tuning_cache_folder

__all__ = ["clear_tuning_cache", "folded_network", "fuse", "tuned", "tuning_cache_bytes", "tuning_cache_folder"]
