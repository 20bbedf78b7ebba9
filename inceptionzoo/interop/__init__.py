"""Bridges into other people's registries; each library is imported where its bridge is used."""

from . import timm

__all__ = ["timm"]
