"""Weights: file formats, layouts (the tensor names and shapes of other libraries), loading and saving, for any model."""

from ..nn import Report
from ._adaptation import as_dense
from ._arguments import other_arguments
from ._atomic import atomic_write, atomic_write_text, try_lock
from ._checksum import Checksum
from ._export import export_weights, exported_state_dict
from ._hub_config import PREFIX, HubConfig, parse_class_names, problem_type, read_config
from ._layout import CLASSIFIER_WEIGHT, is_classifier
from ._load import load_source, load_weights, names_of
from ._locate import first_convolution, locate_network
from ._metadata import ModelMetadata, describe_model, with_tuples
from ._published import as_published, recognise_published
from ._safetensors import read_safetensors, read_safetensors_metadata, write_safetensors
from ._safetensors_header import MARKER
from ._save import check_safetensors_path, save_weights
from ._select import select_weights
from ._source import WEIGHT_ENDINGS, WeightSource, read_weight_file, read_weights
from ._validation import checked_state, find_invalid_values, require_dense

__all__ = [
    "CLASSIFIER_WEIGHT",
    "MARKER",
    "PREFIX",
    "WEIGHT_ENDINGS",
    "Checksum",
    "HubConfig",
    "ModelMetadata",
    "Report",
    "WeightSource",
    "as_dense",
    "as_published",
    "atomic_write",
    "atomic_write_text",
    "check_safetensors_path",
    "checked_state",
    "describe_model",
    "export_weights",
    "exported_state_dict",
    "find_invalid_values",
    "first_convolution",
    "is_classifier",
    "load_source",
    "load_weights",
    "locate_network",
    "names_of",
    "other_arguments",
    "parse_class_names",
    "problem_type",
    "read_config",
    "read_safetensors",
    "read_safetensors_metadata",
    "read_weight_file",
    "read_weights",
    "recognise_published",
    "require_dense",
    "save_weights",
    "select_weights",
    "try_lock",
    "with_tuples",
    "write_safetensors",
]
