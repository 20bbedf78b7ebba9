"""Sharded loaders: each image on one rank, and no other image read."""

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import inceptionzoo as iz
from inceptionzoo.evaluation import DistributedContext, ShardedLoader


def test_shards_divide_each_batch():
    images = torch.arange(11.0)[:, None]
    targets = torch.arange(11)
    for batches in (DataLoader(TensorDataset(images, targets), 4), list(zip(images.split(4), targets.split(4), strict=True))):
        for world in (1, 2, 3, 4, 5):
            indices = []
            for rank in range(world):
                loader = ShardedLoader(batches, DistributedContext(rank, world))
                for _ in range(2):  # every pass is the same
                    shards = list(loader)
                    assert len(shards) == 3
                    for shard in shards:
                        count = len(shard.indices)
                        assert shard.images[:count, 0].long().equal(shard.indices)
                        assert shard.targets[:count].equal(shard.indices)
                        assert count or len(shard.targets) == 1  # an image to run the model on, which does not count
                indices += torch.cat([shard.indices for shard in shards]).tolist()
            assert sorted(indices) == list(range(11))


def test_a_rank_reads_only_its_own_images():
    read = []

    class Counted(TensorDataset):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    data = Counted(torch.zeros(8, 1), torch.arange(8))
    list(ShardedLoader(DataLoader(data, 4), DistributedContext(1, 2)))
    assert read == [1, 3, 5, 7]
    sampler = DistributedSampler(data, num_replicas=2, rank=0)
    for loader in (DataLoader(data, 4, sampler=sampler), DataLoader(data, batch_sampler=BatchSampler(sampler, 4, False))):
        with pytest.raises(iz.ArgumentError, match="has a DistributedSampler, which repeats images .* of a single process"):
            ShardedLoader(loader, DistributedContext(0, 2))
