"""Batches of (images, targets): what they must be, and a rank's part of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Sampler
from torch.utils.data.distributed import DistributedSampler

from ..errors import ArgumentError
from ._distributed import DistributedContext, reseed

Batches = Iterable[tuple[Tensor, Tensor]]
KEPT = (  # of a DataLoader whose batches are taken apart
    "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator",
    "prefetch_factor", "persistent_workers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shard:
    """A rank's part of a batch: images (n, c, h, w), targets (n,), and where they stand among all images, `places`.

    `mark` is a number of the whole batch, by which ranks see whether they read the same.

    Where a batch has fewer images than there are ranks, a rank without one gets its first to run, and no place.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    checksum: int


class ShardedLoader:
    """A rank's part of each batch: images rank, rank + world, ... of it. One pass reads `batches` once.

    A plain DataLoader loads no other rank's images; of any other iterable, every rank reads all and keeps its own. `whole` is
    what was given.

    Raises:
        ArgumentError: the loader has a DistributedSampler, which would take a part of a part.
    """

    def __init__(self, batches: Batches, ranks: DistributedContext) -> None:
        self.ranks, self.whole, self.batches, self.slices = ranks, batches, batches, None
        if ranks.world_size == 1:
            return
        inner = getattr(batches, "batch_sampler", None)
        samplers = (getattr(batches, "sampler", None), inner, getattr(inner, "sampler", None))
        if any(isinstance(sampler, DistributedSampler) for sampler in samplers):
            raise ArgumentError(
                "the loader has a DistributedSampler, which repeats images to fill up: pass the loader of a single process; "
                "each batch of it is split between the ranks, none of its images counted twice"
            )
        if type(batches) is DataLoader and inner is not None and not isinstance(batches.dataset, IterableDataset):
            self.slices = _Slices(inner, ranks)
            kept = {name: getattr(batches, name) for name in KEPT}
            kept["worker_init_fn"] = _OwnSeeds(batches.worker_init_fn, ranks.rank)
            self.batches = DataLoader(batches.dataset, batch_sampler=self.slices, **kept)

    def __iter__(self) -> Iterator[Shard]:
        rank, world = self.ranks.rank, self.ranks.world_size
        start = 0
        for images, targets in map(unpack_batch, self.batches):
            if self.slices is not None:
                size, mark = self.slices.told.popleft()
            else:
                size, mark = len(images), crc32(targets.cpu().numpy().tobytes()) if world > 1 else 0
                own = slice(rank, None, world) if rank < size else slice(0, 1)
                images, targets = (images[own], targets[own]) if world > 1 else (images, targets)
            yield Shard(images, targets, torch.arange(start, start + size)[rank::world], mark)
            start += size


class _Slices(Sampler[list[int]]):
    """A rank's part of each batch of another sampler; of the whole batches `told` has sizes and marks, in order."""

    def __init__(self, batches: Iterable[Any], ranks: DistributedContext) -> None:
        self.batches, self.ranks = batches, ranks
        self.told: deque[tuple[int, int]] = deque()

    def __iter__(self) -> Iterator[list[int]]:
        self.told.clear()
        for batch in map(list, self.batches):
            self.told.append((len(batch), crc32(repr(batch).encode())))
            yield batch[self.ranks.rank :: self.ranks.world_size] or batch[:1]

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]  # where the sampler has none, this raises as it does


@dataclass(frozen=True, slots=True)
class _OwnSeeds:
    """Start a worker's generators elsewhere than another rank's; then the caller's own function."""

    then: Any
    rank: int

    def __call__(self, worker: int) -> None:
        if self.rank:
            reseed(crc32(f"{torch.initial_seed()} {self.rank}".encode()))  # of a seed, torch takes 32 bits
        if self.then is not None:
            self.then(worker)


def check_loader(name: str, batches: object) -> None:
    """Check that `batches` can be read one after the other; what they are is seen when they are read.

    Raises:
        ArgumentError: they cannot.
    """
    readable = hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")
    if not readable or isinstance(batches, str | bytes | Mapping | type):
        raise ArgumentError(f"{name}={batches!r} must be a DataLoader, or a list of (images, targets)")


def length_or_none(batches: object) -> int | None:
    """Return how many there are, or None where that is not known: a DataLoader may have a `len` that raises."""
    try:
        return len(batches)  # type: ignore[arg-type]  # tried
    except TypeError:
        return None


def unpack_batch(batch: Any) -> tuple[Tensor, Tensor]:
    """Return the images and the targets of a batch.

    Raises:
        ArgumentError: it is another thing than those two tensors.
    """
    try:
        images, targets = batch
    except (TypeError, ValueError):
        images = targets = None
    if not isinstance(images, Tensor) or not isinstance(targets, Tensor):
        raise ArgumentError(f"a batch of type {type(batch).__name__} must be two Tensors, (images, targets)")
    return images, targets


def check_batch(images: Tensor, targets: Tensor, num_classes: int) -> None:
    """Check that images are floating point and targets class numbers.

    Raises:
        ArgumentError: they are not; torch's own message would be about a kernel's index, or none at all.
    """
    if not images.is_floating_point():
        raise ArgumentError(f"images of {images.dtype} must be floating point; prepare them with transforms(model)")
    if targets.ndim != 1 or targets.dtype != torch.int64 or len(targets) != len(images) or not len(targets):
        raise ArgumentError(
            f"targets of shape {tuple(targets.shape)} and {targets.dtype} must be (n,) of torch.int64, one for each of the "
            f"{len(images)} images"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= num_classes:
        raise ArgumentError(
            f"targets from {low} to {high} must lie in 0..{num_classes - 1}; the model has num_classes={num_classes}"
        )
