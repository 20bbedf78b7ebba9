"""Weights: files, layouts, loading. Nothing here knows a particular model."""

from .load import Report, load_weights
from .save import save_weights

__all__ = ["Report", "load_weights", "save_weights"]
