"""Fast inference: fused models, their tuning, and the cache of its results."""

from ..kernels import clear_tuning_cache, tuning_cache_bytes, tuning_cache_folder
from ._fuse import folded_network, fuse, tuned
from ._fuse_convolutions import fuse_convolutions

__all__ = [
    "clear_tuning_cache",
    "folded_network",
    "fuse",
    "fuse_convolutions",
    "tuned",
    "tuning_cache_bytes",
    "tuning_cache_folder",
]
