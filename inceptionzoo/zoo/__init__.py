"""Models by name: the registry, creating, loading, publishing, ensembles, images, predictions, summaries, drawings."""

from ._convert import convert
from ._create import create_model, load_model
from ._ensemble import Ensemble, holds_ensemble
from ._image import open_image
from ._image_folders import find_hidden_images, image_endings, image_paths, is_hidden, warn_of_other_images
from ._inflate import inflate
from ._predict import check_takes_images, predict, predict_files
from ._publish import push_to_hub, save_pretrained
from ._register import register_model
from ._registry import (
    REGISTRY,
    ModelInfo,
    find_entry,
    is_model,
    list_models,
    model_info,
)
from ._render import Drawing, draw, summary
from ._restore import build_from_metadata
from ._sources import SAME_SUFFIX, load_published
from ._transforms import transforms

__all__ = [
    "REGISTRY",
    "SAME_SUFFIX",
    "Drawing",
    "Ensemble",
    "ModelInfo",
    "build_from_metadata",
    "check_takes_images",
    "convert",
    "create_model",
    "draw",
    "find_entry",
    "find_hidden_images",
    "holds_ensemble",
    "image_endings",
    "image_paths",
    "inflate",
    "is_hidden",
    "is_model",
    "list_models",
    "load_model",
    "load_published",
    "model_info",
    "open_image",
    "predict",
    "predict_files",
    "push_to_hub",
    "register_model",
    "save_pretrained",
    "summary",
    "transforms",
    "warn_of_other_images",
]
