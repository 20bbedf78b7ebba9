"""Weights: files, layouts, loading. Nothing here knows a particular model."""

from ..report import Report
from .export import export_weights
from .load import load_weights
from .save import save_weights

__all__ = ["Report", "export_weights", "load_weights", "save_weights"]
