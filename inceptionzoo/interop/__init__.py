"""Bridges to other libraries. A library is imported only when its bridge is used."""

from . import timm

__all__ = ["timm"]
