"""Training. Nothing here knows a particular model: a model carries its own recipe.

`recipe`, `Losses` and `tensorboard` are for a loop of one's own, too.
"""

from ._callbacks import tensorboard
from ._fit import fit
from ._history import History
from ._losses import Losses
from ._recipe import recipe

__all__ = ["History", "Losses", "fit", "recipe", "tensorboard"]
