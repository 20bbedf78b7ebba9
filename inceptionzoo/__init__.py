"""inceptionzoo: every Inception network and VGG, faithful to their papers.

import inceptionzoo as iz

model = iz.create_model("googlenet", num_classes=2)
history = iz.fit(model, train_loader, val_loader, epochs=20, out="run")
iz.save_weights(model, "mine.safetensors")
iz.predict(iz.load_model("mine.safetensors"), "image.jpg")
"""

from . import errors, evaluation, inference, interop, models, train, weights
from .build import build, with_aux
from .cost import Cost, Shape
from .draw import Drawing, draw
from .ensemble import Ensemble
from .entry import DataConfig, Entry, Layout, Published, Recipe
from .errors import (
    ArgumentError,
    DownloadError,
    FileError,
    InputError,
    MismatchError,
    RefusedError,
    SpecError,
    TrainingError,
    UnknownModelError,
    WeightsError,
    ZooError,
)
from .evaluation import Result, evaluate
from .factory import create_model, load_model
from .feature_net import FeatureInfo, FeatureNet
from .inference import fuse
from .models.googlenet import inception
from .net import Net
from .network import Aux, Head, Network, Style, network
from .predict import predict, transforms
from .publish import convert, push_to_hub, save_pretrained
from .registry import ModelInfo, is_model, list_models, model_info, register_model
from .spec import Act, Chain, Concat, Conv, Depthwise, Layer, Norm, Op, Pool, Residual, chain, concat
from .summary import Summary, summary
from .train import History, fit
from .weights import Report, export_weights, load_weights, save_weights

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
    "InputError",
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
    "interop",
    "is_model",
    "list_models",
    "load_model",
    "load_weights",
    "model_info",
    "models",
    "network",
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
