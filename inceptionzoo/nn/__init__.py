"""The torch modules of specifications (blocks, heads, `Net`, `FeatureNet`) and the functions that build them."""

from . import _private_torch as private_torch
from ._backbone import Backbone, Indices
from ._blocks import Branches, ConvNormAct, ResidualBlock, training_batch_norms
from ._build import build, build_layer, build_network, with_aux
from ._device import check_device, default_accelerator
from ._feature_net import FeatureInfo, FeatureNet
from ._heads import AuxHead, check_head
from ._memory import is_max_pool, is_relu, is_tracing
from ._net import Net, check_class_names
from ._report import Report

__all__ = [
    "AuxHead",
    "Backbone",
    "Branches",
    "ConvNormAct",
    "FeatureInfo",
    "FeatureNet",
    "Indices",
    "Net",
    "Report",
    "ResidualBlock",
    "build",
    "build_layer",
    "build_network",
    "check_class_names",
    "check_device",
    "check_head",
    "default_accelerator",
    "is_max_pool",
    "is_relu",
    "is_tracing",
    "private_torch",
    "training_batch_norms",
    "with_aux",
]
