"""Training, with the defaults of each model's registry entry.

`recipe` and `Losses` are the parts of `fit` for a training loop of your own. `estimate_memory` says what a training needs.
"""

from ._callbacks import tensorboard
from ._fit import fit
from ._history import History
from ._kernels import use_kernels
from ._losses import Losses
from ._memory import MemoryEstimate, estimate_memory
from ._recipe import recipe

__all__ = ["History", "Losses", "MemoryEstimate", "estimate_memory", "fit", "recipe", "tensorboard", "use_kernels"]
