"""Evaluation on labelled images: tasks, metrics, plots, and batches split between the processes of torchrun."""

from ._batches import (
    Batches,
    Unpack,
    check_images,
    check_loader,
    check_unpack,
    length_or_none,
    move_batch,
    reads_once,
    unpack_batch,
)
from ._classes import align_classes, check_number_of_classes, find_class_names
from ._distributed import DistributedContext, distributed_context, seed_everything
from ._epoch import EpochMetrics
from ._evaluate import evaluate, evaluate_shards, made_up_result
from ._image_check import check_range, describe_difference
from ._loss import Loss, check_logits, check_loss_value, make_loss, make_task, task_of, weight_in_mean
from ._modes import evaluation_mode
from ._own_loss import OneHotTargets, OwnLoss, check_loss, is_loss_of_torch, weights_of_classes
from ._plots import save_curves
from ._result import Result
from ._sharding import OTHER_BATCHES, Shard, ShardedLoader
from ._task import Task, loss_dtype

__all__ = [
    "OTHER_BATCHES",
    "Batches",
    "DistributedContext",
    "EpochMetrics",
    "Loss",
    "OneHotTargets",
    "OwnLoss",
    "Result",
    "Shard",
    "ShardedLoader",
    "Task",
    "Unpack",
    "align_classes",
    "check_images",
    "check_loader",
    "check_logits",
    "check_loss",
    "check_loss_value",
    "check_number_of_classes",
    "check_range",
    "check_unpack",
    "describe_difference",
    "distributed_context",
    "evaluate",
    "evaluate_shards",
    "evaluation_mode",
    "find_class_names",
    "is_loss_of_torch",
    "length_or_none",
    "loss_dtype",
    "made_up_result",
    "make_loss",
    "make_task",
    "move_batch",
    "reads_once",
    "save_curves",
    "seed_everything",
    "task_of",
    "unpack_batch",
    "weight_in_mean",
    "weights_of_classes",
]
