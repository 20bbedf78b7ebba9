"""Training. Nothing here knows a particular model: a model carries its own recipe.

`recipe`, `Losses` and `tensorboard` are for a loop of one's own, too.
"""

from .callbacks import tensorboard
from .fit import fit
from .history import History
from .losses import Losses
from .recipe import recipe

__all__ = ["History", "Losses", "fit", "recipe", "tensorboard"]
