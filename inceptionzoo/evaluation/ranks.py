"""The processes that share one training, as torchrun starts them. A process on its own is rank 0 of 1."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(minutes=10)  # how long a rank waits for another, where the caller has not set it


@dataclass(frozen=True, slots=True)
class Ranks:
    """The place of a process among all; `group` is gloo's, for numbers that are on no accelerator."""

    rank: int = 0
    world: int = 1
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and shows progress."""
        return self.rank == 0

    def total(self, *numbers: float) -> list[float]:
        """Return the sums of the numbers over all ranks, which so wait for each other."""
        if self.world == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(sums, group=self.group)
        found: list[float] = sums.tolist()
        return found

    def gathered(self, part: Tensor, places: Tensor) -> Tensor:
        """Return the rows of all ranks in the order of their places."""
        if self.world == 1:
            return part
        from torchmetrics.utilities.distributed import gather_all_tensors

        rows = torch.cat(gather_all_tensors(part, group=self.group))
        return rows[torch.cat(gather_all_tensors(places, group=self.group)).argsort()]

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every rank the first one's values."""
        for tensor in tensors if self.world > 1 else ():
            value = tensor.detach().cpu().contiguous()
            distributed.broadcast(value, 0, group=self.group)
            tensor.detach().copy_(value)

    def share_random(self, generators: Iterable[torch.Generator]) -> None:
        """Set every rank's random generators as the first one's are, so that all of them draw the same batches."""
        if self.world == 1:
            return
        for generator in (torch.default_generator, *generators):
            state = generator.get_state()
            self.share([state])
            generator.set_state(state)
        seed = self._drawn()
        random.seed(seed)
        numpy.random.seed(seed)

    def part_ways(self) -> None:
        """Let every rank draw its own dropout, once the order of the batches is drawn."""
        if not self.first:
            torch.manual_seed(self._drawn() + self.rank)

    def _drawn(self) -> int:
        """Return a random number, the same on every rank, and leave torch's generator as it is."""
        return int(torch.randint(2**31, (), generator=torch.default_generator.clone_state()))

    def joined(self, module: nn.Module) -> nn.Module:
        """Return the module with its gradients averaged over the ranks."""
        if self.world == 1:
            return module
        return DistributedDataParallel(module)


@contextmanager
def ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun or the caller has started; leave them again, if it was not the caller who joined.

    After an error nobody is waited for: the end of a process is what tells the others.
    """
    several = distributed.is_available() and (distributed.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) > 1)
    if not several:
        yield Ranks()
        return
    ours = not distributed.is_initialized()
    if ours:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    group = None if "gloo" in distributed.get_backend_config() else distributed.new_group(backend="gloo", timeout=TIMEOUT)
    yield Ranks(distributed.get_rank(), distributed.get_world_size(), group)
    if ours:
        distributed.destroy_process_group()
