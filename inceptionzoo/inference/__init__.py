"""Fast inference: fused models and their tuning."""

from ._fuse import folded_network, fuse, tuned

__all__ = ["folded_network", "fuse", "tuned"]
