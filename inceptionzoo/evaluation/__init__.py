"""How a model does: its result on labelled images, in numbers and pictures, by one process or several."""

from ._batches import Batches, Shard, ShardedLoader, check_batch, check_loader, length_or_none, unpack_batch
from ._distributed import DistributedContext, distributed_context
from ._evaluate import evaluate, evaluate_shards, evaluation_mode
from ._metrics import EpochMetrics
from ._plots import save_curves
from ._result import Result

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
    "save_curves",
    "unpack_batch",
]
