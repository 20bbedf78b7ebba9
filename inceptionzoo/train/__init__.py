"""Training and evaluation. Nothing here knows a particular model: a model carries its own recipe."""

from .evaluate import Result, evaluate
from .fit import fit
from .history import History

__all__ = ["History", "Result", "evaluate", "fit"]
