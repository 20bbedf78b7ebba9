"""The processes that share one training, as torchrun starts them. A process on its own is rank 0 of 1."""

from __future__ import annotations

import atexit
import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from zlib import crc32

import numpy
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import ArgumentError
from ..nn import default_accelerator

TIMEOUT = timedelta(minutes=10)  # how long a rank waits for another, where the caller has not set it


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """The place of a process among all; `group` is gloo's, for numbers that are on no accelerator."""

    rank: int = 0
    world_size: int = 1
    group: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes files and shows progress."""
        return self.rank == 0

    def all_reduce(self, *numbers: float) -> list[float]:
        """Return the sums of the numbers over all ranks, which so wait for each other."""
        if self.world_size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(sums, group=self.group)
        found: list[float] = sums.tolist()
        return found

    def check_same(self, asked: object) -> None:
        """Check that every rank was asked for the same.

        Raises:
            ArgumentError: it was not.
        """
        mark = crc32(repr(asked).encode())
        if self.all_reduce(mark) != [self.world_size * mark]:
            raise ArgumentError("the ranks differ in their arguments, model or number of images; make the same call on each")

    def all_gather(self, part: Tensor, places: Tensor) -> Tensor:
        """Return the rows of all ranks in the order of their places."""
        if self.world_size == 1:
            return part
        from torchmetrics.utilities.distributed import gather_all_tensors

        rows = torch.cat(gather_all_tensors(part, group=self.group))
        return rows[torch.cat(gather_all_tensors(places, group=self.group)).argsort()]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every rank the first one's values."""
        for tensor in tensors if self.world_size > 1 else ():
            value = tensor.detach().cpu().contiguous()
            distributed.broadcast(value, 0, group=self.group)
            tensor.detach().copy_(value)

    def broadcast_rng(self, generators: Iterable[torch.Generator]) -> None:
        """Set every rank's random generators as the first one's are, so that all of them draw the same batches."""
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
        """Let every rank draw its own dropout and augmentation, once the order of the batches is drawn."""
        if not self.is_main:
            reseed(self._shared_seed() + self.rank)

    def _shared_seed(self) -> int:
        """Return a random number, the same on every rank, and leave torch's generator as it is."""
        return int(torch.randint(2**31, (), generator=torch.default_generator.clone_state()))

    def wrap_ddp(self, module: nn.Module) -> nn.Module:
        """Return the module with its gradients averaged over the ranks."""
        if self.world_size == 1:
            return module
        return DistributedDataParallel(module)


def reseed(seed: int) -> None:
    """Start torch's, Python's and numpy's generators anew."""
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed % 2**32)


@contextmanager
def distributed_context() -> Iterator[DistributedContext]:
    """Join the processes that torchrun or the caller has started, once; ours are left when the process ends.

    After an error nobody is waited for: the end of a process is what tells the others.
    """
    several = distributed.is_available() and (distributed.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) > 1)
    if not several:
        yield DistributedContext()
        return
    if not distributed.is_initialized():
        place = default_accelerator()
        if place is not None and place.index is not None:
            torch.accelerator.set_device_index(place.index)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
        atexit.register(_leave)
    _failed.add(True)
    yield DistributedContext(distributed.get_rank(), distributed.get_world_size(), _gloo(distributed.group.WORLD))
    _failed.clear()


_failed: set[bool] = set()  # holds something while a training runs, and after one that failed


@cache
def _gloo(world: object) -> Any:  # noqa: ARG001  # one for each world
    """Return the group for numbers on the CPU: the world itself, where that is gloo's."""
    own = "gloo" in distributed.get_backend_config()
    return None if own else distributed.new_group(backend="gloo", timeout=TIMEOUT)


def _leave() -> None:
    if distributed.is_initialized() and not _failed:
        distributed.destroy_process_group()
