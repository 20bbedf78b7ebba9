"""A model's inference form: the same outputs by fewer and cheaper operations."""

from ._fuse import folded_network, fuse, tuned

__all__ = ["folded_network", "fuse", "tuned"]
