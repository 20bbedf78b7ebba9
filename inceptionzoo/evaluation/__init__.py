"""Evaluation on labelled images: metrics, plots, and batches split between the processes of torchrun."""

from ._batches import Batches, check_batch, check_loader, length_or_none, unpack_batch
from ._distributed import DistributedContext, distributed_context, seed_everything
from ._evaluate import evaluate, evaluate_shards, evaluation_mode, made_up_result
from ._metrics import EpochMetrics
from ._plots import save_curves
from ._result import Result
from ._sharding import Shard, ShardedLoader

__all__ = [
    "Batches",
    "DistributedContext",
    "EpochMetrics",
    "Result",
    "Shard",
    "ShardedLoader",
    "check_batch",
    "check_loader",
    "distributed_context",
    "evaluate",
    "evaluate_shards",
    "evaluation_mode",
    "length_or_none",
    "made_up_result",
    "save_curves",
    "seed_everything",
    "unpack_batch",
]
