"""A sequence of launches runs in order, on the tensors of each call."""

import torch
from helpers import noise
from torch import nn

from inceptionzoo.kernels._buffers import ScratchArena
from inceptionzoo.kernels._launch import AddressFixup, LaunchSequence
from inceptionzoo.kernels._max_pool import CopyOp, MaxPoolOp


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


def test_addresses_inside_a_tensor():
    shape = (1, 8, 5, 6)
    wide, y = noise(1, 24, 5, 6).to(memory_format=torch.channels_last), torch.empty(shape, memory_format=torch.channels_last)
    (copy,) = CopyOp(shape).launches(torch.zeros_like(wide)[:, 16:], y, ScratchArena())
    LaunchSequence([copy], [AddressFixup(copy.args, "source", 0, 4 * 16)])([wide])
    assert y.equal(wide[:, 16:])


def test_all_threads_end_a_kernel_before_the_next_begins():
    """The second copies what the last thread of the first writes last."""
    x, threads = noise(64, 16, 64, 64).to(memory_format=torch.channels_last), torch.get_num_threads()
    between, y = torch.zeros_like(x), torch.zeros_like(x[:1])
    torch.set_num_threads(4)
    try:
        scratch = ScratchArena()
        first, last = CopyOp(x.shape).launches(x, between, scratch), CopyOp(y.shape).launches(between[-1:], y, scratch)
        LaunchSequence([*first, *last])()
    finally:
        torch.set_num_threads(threads)
    assert y.equal(x[-1:])
