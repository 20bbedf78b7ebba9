"""A sequence of launches runs in order, on the tensors of each call."""

import torch
from helpers import noise
from torch import nn

from inceptionzoo.kernels._buffers import ScratchArena
from inceptionzoo.kernels._launch import AddressFixup, LaunchSequence
from inceptionzoo.kernels._max_pool import MaxPoolOp


def test_launch_sequence_follows_its_tensors():
    pool, shape = nn.MaxPool2d(3, 1, 1), (1, 8, 5, 6)
    op, scratch = MaxPoolOp(pool, shape), ScratchArena()
    x, between, y = (torch.empty(shape, memory_format=torch.channels_last) for _ in range(3))
    first, second = *op.launches(x, between, scratch), *op.launches(between, y, scratch)
    sequence = LaunchSequence(
        [first, second], [AddressFixup(first.args, "source", 0, 0), AddressFixup(second.args, "target", 1, 0)]
    )
    for seed in (1, 2):
        tensors = [values.to(memory_format=torch.channels_last) for values in (noise(*shape, seed=seed), torch.empty(shape))]
        sequence(tensors)
        assert tensors[1].equal(pool(pool(tensors[0])))
