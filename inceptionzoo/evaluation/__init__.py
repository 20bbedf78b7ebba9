"""How a model does: its result on labelled images, in numbers and pictures, by one process or several."""

from .evaluate import evaluate
from .result import Result

__all__ = ["Result", "evaluate"]
