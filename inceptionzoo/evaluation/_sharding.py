"""Split each batch of a loader between the ranks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Sampler
from torch.utils.data.distributed import DistributedSampler

from ..errors import ArgumentError
from ._batches import Batches, Unpack, explain_read_errors, unpack_batch
from ._distributed import DistributedContext, seed_everything

LOADER_OPTIONS = (  # the options of a DataLoader that its sharded copy keeps
    "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator",
    "prefetch_factor", "persistent_workers",
)  # fmt: skip
OTHER_BATCHES = (
    "the ranks read different batches; pass the same loader on each rank, with batches in the same order: each batch is split "
    "between the ranks"
)


@dataclass(frozen=True, slots=True)
class Shard:
    """One rank's part of a batch: images (n, c, h, w), targets (n, ...), and the images' `indices` in the epoch.

    `checksum` identifies the full batch; ranks compare it to see that they read the same batches.

    If a batch has fewer images than there are ranks, a rank without an image gets the first image and no index. The image
    does not count; the rank runs the model on it because every rank must take part in the all-reduce.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    checksum: int


class ShardedLoader:
    """One rank's shards of the batches of `loader`: images rank, rank + world_size, ... of each batch.

    Each pass iterates over `loader` once. If it is a plain DataLoader, a rank loads only its own images. From any
    other iterable, each rank reads all images and keeps its own. `unpack` is that of `unpack_batch`.

    Raises:
        ArgumentError: the loader has a DistributedSampler, so that its batches are sharded already.
    """

    def __init__(self, loader: Batches, context: DistributedContext, unpack: Unpack | None = None) -> None:
        self.loader, self.context, self.unpack = loader, context, unpack
        self._local_loader: Batches = loader
        self._sampler: ShardedBatchSampler | None = None
        if context.world_size == 1:
            return
        batch_sampler = getattr(loader, "batch_sampler", None)
        samplers = (getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
        if any(isinstance(sampler, DistributedSampler) for sampler in samplers):
            raise ArgumentError(
                "the loader has a DistributedSampler, which repeats images to make equal parts: pass the loader of a single "
                "process; each of its batches is split between the ranks, and no image counts twice"
            )
        if type(loader) is DataLoader and batch_sampler is not None and not isinstance(loader.dataset, IterableDataset):
            self._sampler = ShardedBatchSampler(batch_sampler, context)
            options = {name: getattr(loader, name) for name in LOADER_OPTIONS}
            options["worker_init_fn"] = _RankWorkerInit(loader.worker_init_fn, context.rank)
            self._local_loader = DataLoader(loader.dataset, batch_sampler=self._sampler, **options)

    def __iter__(self) -> Iterator[Shard]:
        rank, world_size = self.context.rank, self.context.world_size
        start = 0
        for batch in explain_read_errors(self._local_loader):
            images, targets = unpack_batch(batch, self.unpack)
            if self._sampler is not None:
                size, checksum = self._sampler.full_batches.popleft()
            else:
                size, checksum = len(images), crc32(targets.cpu().numpy().tobytes()) if world_size > 1 else 0
                local = slice(rank, None, world_size) if rank < size else slice(0, 1)
                images, targets = (images[local], targets[local]) if world_size > 1 else (images, targets)
            yield Shard(images, targets, torch.arange(start, start + size)[rank::world_size], checksum)
            start += size


class ShardedBatchSampler(Sampler[list[int]]):
    """One rank's part of each batch of another batch sampler.

    `full_batches` is a queue of (size, checksum) of the full batches that were drawn and whose images are not read yet.
    """

    def __init__(self, batch_sampler: Iterable[Any], context: DistributedContext) -> None:
        self.batch_sampler, self.context = batch_sampler, context
        self.full_batches: deque[tuple[int, int]] = deque()

    def __iter__(self) -> Iterator[list[int]]:
        self.full_batches.clear()
        for batch in map(list, self.batch_sampler):
            self.full_batches.append((len(batch), crc32(repr(batch).encode())))
            yield batch[self.context.rank :: self.context.world_size] or batch[:1]

    def __len__(self) -> int:
        return len(self.batch_sampler)  # type: ignore[arg-type]  # raises TypeError if the sampler has no length


@dataclass(frozen=True, slots=True)
class _RankWorkerInit:
    """Seed a worker process differently on each rank, then call the `worker_init_fn` of the loader."""

    worker_init_fn: Any
    rank: int

    def __call__(self, worker: int) -> None:
        if self.rank:
            seed_everything(crc32(f"{torch.initial_seed()} {self.rank}".encode()))  # torch keeps only 32 bits of a seed
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker)
