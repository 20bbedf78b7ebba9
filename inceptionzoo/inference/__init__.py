"""A model's inference form: the same outputs by fewer and cheaper operations."""

from .fuse import fuse, tuned

__all__ = ["fuse", "tuned"]
