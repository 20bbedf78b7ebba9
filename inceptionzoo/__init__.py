"""inceptionzoo: every Inception network and VGG, faithful to their papers.

import inceptionzoo as iz

model = iz.create_model("googlenet", num_classes=2)
history = iz.fit(model, train_loader, val_loader, epochs=20, out="run")
iz.save_weights(model, "mine.safetensors")
iz.predict(iz.load_model("mine.safetensors"), "image.jpg")
"""

import signal as _signal
import sys as _sys

# While the command line imports torch, Ctrl-C ends the process without a traceback. `cli.run` restores Python's handler.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler and (
    _sys.orig_argv[1:3] == ["-m", "inceptionzoo"] or "".join(_sys.orig_argv[1:2]).endswith("/inceptionzoo")
):
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from . import errors, evaluation, inference, interop, models, train, weights
from .errors import (
    ArgumentError,
    DownloadError,
    FileError,
    ImageError,
    InputError,
    KeywordError,
    MismatchError,
    RefusedError,
    SpecError,
    TrainingError,
    UnknownModelError,
    WeightsError,
    ZooError,
)
from .evaluation import Result, evaluate
from .inference import fuse
from .models.googlenet import inception
from .nn import FeatureInfo, FeatureNet, Net, build, with_aux
from .spec import (
    Act,
    Aux,
    Chain,
    Concat,
    Conv,
    Cost,
    DataConfig,
    Depthwise,
    Entry,
    Head,
    Layer,
    Layout,
    Network,
    Norm,
    Op,
    Pool,
    Published,
    Recipe,
    Residual,
    Shape,
    Style,
    Summary,
    chain,
    concat,
    network,
)
from .train import History, fit
from .weights import Report, export_weights, load_weights, save_weights
from .zoo import (
    Drawing,
    Ensemble,
    ModelInfo,
    convert,
    create_model,
    draw,
    inflate,
    is_model,
    list_models,
    load_model,
    model_info,
    open_image,
    predict,
    push_to_hub,
    register_model,
    save_pretrained,
    summary,
    transforms,
)

__version__ = "0.1.0"

__all__ = [
    "Act",
    "ArgumentError",
    "Aux",
    "Chain",
    "Concat",
    "Conv",
    "Cost",
    "DataConfig",
    "Depthwise",
    "DownloadError",
    "Drawing",
    "Ensemble",
    "Entry",
    "FeatureInfo",
    "FeatureNet",
    "FileError",
    "Head",
    "History",
    "ImageError",
    "InputError",
    "KeywordError",
    "Layer",
    "Layout",
    "MismatchError",
    "ModelInfo",
    "Net",
    "Network",
    "Norm",
    "Op",
    "Pool",
    "Published",
    "Recipe",
    "RefusedError",
    "Report",
    "Residual",
    "Result",
    "Shape",
    "SpecError",
    "Style",
    "Summary",
    "TrainingError",
    "UnknownModelError",
    "WeightsError",
    "ZooError",
    "build",
    "chain",
    "concat",
    "convert",
    "create_model",
    "draw",
    "errors",
    "evaluate",
    "evaluation",
    "export_weights",
    "fit",
    "fuse",
    "inception",
    "inference",
    "inflate",
    "interop",
    "is_model",
    "list_models",
    "load_model",
    "load_weights",
    "model_info",
    "models",
    "network",
    "open_image",
    "predict",
    "push_to_hub",
    "register_model",
    "save_pretrained",
    "save_weights",
    "summary",
    "train",
    "transforms",
    "weights",
    "with_aux",
]


def __dir__() -> list[str]:
    """Return the public names, without the private subpackages."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
