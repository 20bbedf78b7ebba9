"""The torch modules of specifications (blocks, heads, `Net`, `FeatureNet`) and the functions that build them."""

from . import _private_torch as private_torch
from ._backbone import Backbone, Indices
from ._blocks import Branches, ConvNormAct, MapStages, ResidualBlock, Steps
from ._build import attach_aux_heads, build, build_layer, build_network, with_aux
from ._changes import changed_parts, check_unchanged, describe_changes, list_changes, warn_of_hooks
from ._device import check_device, check_has_values, default_accelerator, is_sharded, placeholder_device, warn_if_emulated
from ._feature_net import FeatureInfo, FeatureNet
from ._heads import AuxHead, ClassifierHead, check_head
from ._layers import BATCH_NORMS, training_batch_norms
from ._memory import activate, compact_max_pool, is_relu, is_tracing, run_module, window
from ._memory_format import to_channels_last
from ._net import Net
from ._padding import SameConv1d
from ._parts import Change, FusedRecord, parts
from ._pre_activation import PreActModule, apply_activation
from ._report import Report
from ._require_net import require_net
from ._task import CLASS_TASKS, TASKS, check_class_names, check_task, default_task, name_counts
from ._training_ops import TrainingOps, set_training_ops

__all__ = [
    "BATCH_NORMS",
    "CLASS_TASKS",
    "TASKS",
    "AuxHead",
    "Backbone",
    "Branches",
    "Change",
    "ClassifierHead",
    "ConvNormAct",
    "FeatureInfo",
    "FeatureNet",
    "FusedRecord",
    "Indices",
    "MapStages",
    "Net",
    "PreActModule",
    "Report",
    "ResidualBlock",
    "SameConv1d",
    "Steps",
    "TrainingOps",
    "activate",
    "apply_activation",
    "attach_aux_heads",
    "build",
    "build_layer",
    "build_network",
    "changed_parts",
    "check_class_names",
    "check_device",
    "check_has_values",
    "check_head",
    "check_task",
    "check_unchanged",
    "compact_max_pool",
    "default_accelerator",
    "default_task",
    "describe_changes",
    "is_relu",
    "is_sharded",
    "is_tracing",
    "list_changes",
    "name_counts",
    "parts",
    "placeholder_device",
    "private_torch",
    "require_net",
    "run_module",
    "set_training_ops",
    "to_channels_last",
    "training_batch_norms",
    "warn_if_emulated",
    "warn_of_hooks",
    "window",
    "with_aux",
]
