"""The process group of a training under torchrun. A single process is rank 0 of a world of size 1."""

from __future__ import annotations

import atexit
import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from threading import Event
from typing import Any, TypeVar
from zlib import crc32

import numpy
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import ArgumentError
from ..nn import default_accelerator

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)  # of the process group, unless the caller has initialized one


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """The rank of this process, the world size, and a gloo `group` for tensors on the CPU (None: the default group)."""

    rank: int = 0
    world_size: int = 1
    group: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and shows progress."""
        return self.rank == 0

    def all_reduce(self, *numbers: float) -> list[float]:
        """Return the sum of each number over all ranks. Every rank waits here for the others."""
        if self.world_size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(sums, group=self.group)
        result: list[float] = sums.tolist()
        return result

    def is_same(self, value: object) -> bool:
        """Return whether `value` has the same `repr` on every rank."""
        checksum = crc32(repr(value).encode())
        return self.all_reduce(checksum) == [self.world_size * checksum]

    def check_same(self, fingerprint: object) -> None:
        """Check that `fingerprint` has the same `repr` on every rank.

        Raises:
            ArgumentError: it differs.
        """
        if not self.is_same(fingerprint):
            raise ArgumentError("the ranks differ in their arguments, model or number of images; make the same call on each")

    def all_gather(self, rows: Tensor, indices: Tensor) -> Tensor:
        """Return the rows of all ranks, sorted by their `indices`."""
        if self.world_size == 1:
            return rows
        from torchmetrics.utilities.distributed import gather_all_tensors

        gathered = torch.cat(gather_all_tensors(rows, group=self.group))
        return gathered[torch.cat(gather_all_tensors(indices, group=self.group)).argsort()]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy the values of rank 0 to every rank, in place."""
        for tensor in tensors if self.world_size > 1 else ():
            value = tensor.detach().cpu().contiguous()
            distributed.broadcast(value, 0, group=self.group)
            tensor.detach().copy_(value)

    def broadcast_object(self, value: T) -> T:
        """Return the value of rank 0, which can be pickled, on every rank."""
        values = [value]
        if self.world_size > 1:
            distributed.broadcast_object_list(values, 0, group=self.group)
        return values[0]

    def broadcast_rng(self, generators: Iterable[torch.Generator]) -> None:
        """Set the random generators of every rank to the state of rank 0, so that all ranks draw the same batches."""
        if self.world_size == 1:
            return
        for generator in (torch.default_generator, *generators):
            state = generator.get_state()
            self.broadcast([state])
            generator.set_state(state)
        seed = self._shared_seed()
        random.seed(seed)
        numpy.random.seed(seed)

    def reseed_per_rank(self) -> None:
        """Seed every rank but the first differently, for dropout and augmentation.

        Call it after the order of the batches has been drawn.
        """
        if not self.is_main:
            seed_everything(self._shared_seed() + self.rank)

    def _shared_seed(self) -> int:
        """Return a random number that is the same on every rank, without advancing torch's generator."""
        return int(torch.randint(2**31, (), generator=torch.default_generator.clone_state()))

    def wrap_ddp(self, module: nn.Module) -> nn.Module:
        """Return the module wrapped in DistributedDataParallel if there are several ranks."""
        if self.world_size == 1:
            return module
        return DistributedDataParallel(module)


def seed_everything(seed: int) -> None:
    """Seed the random generators of torch, Python and NumPy."""
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed % 2**32)


_unfinished = Event()  # set while a training runs, and after one that failed


@contextmanager
def distributed_context() -> Iterator[DistributedContext]:
    """Join the process group of torchrun or of the caller; without a group, yield a context of one rank.

    A group that is created here serves every later call and is destroyed when the process exits. After an error it is not
    destroyed, because that would wait for the other ranks. They fail when this process exits.
    """
    distributed_run = distributed.is_available() and (
        distributed.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) > 1
    )
    if not distributed_run:
        yield DistributedContext()
        return
    if not distributed.is_initialized():
        device = default_accelerator()
        if device is not None and device.index is not None:
            torch.accelerator.set_device_index(device.index)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
        atexit.register(_destroy_process_group)
    _unfinished.set()
    yield DistributedContext(distributed.get_rank(), distributed.get_world_size(), _gloo_group(distributed.group.WORLD))
    _unfinished.clear()


@cache
def _gloo_group(world: object) -> Any:  # noqa: ARG001  # the key of the cache: one group for each world
    """Return a gloo group of all ranks, or None if the default group has a gloo backend."""
    has_gloo = "gloo" in distributed.get_backend_config()
    return None if has_gloo else distributed.new_group(backend="gloo", timeout=TIMEOUT)


def _destroy_process_group() -> None:
    if distributed.is_initialized() and not _unfinished.is_set():
        distributed.destroy_process_group()
