"""A model's inference form: the same outputs by fewer and cheaper operations."""

from .fuse import fuse

__all__ = ["fuse"]
