"""Scratch memory is reused by name, and work is divided into parts that cover it."""

import pytest
import torch
from convolutions import maps

from inceptionzoo.inference.cpu import _buffers as buffers


def test_scratch_memory_is_shared_by_name():
    scratch = buffers.ScratchArena()
    address = scratch.address("tiles", 8)
    assert scratch.address("tiles", 6) == address
    assert scratch.address("products", 8) != address
    assert scratch.size == 16


def test_scratch_memory_that_became_too_small_is_kept():
    """Launches may still hold its address."""
    scratch = buffers.ScratchArena()
    zeros = scratch.zeros("padded", 4)
    assert zeros.fill_(1).equal(torch.ones(4))
    larger = scratch.zeros("padded", 6)
    assert larger.equal(torch.zeros(6))
    assert larger.data_ptr() != zeros.data_ptr()
    assert scratch.size == 10


@pytest.mark.parametrize(("count", "size"), [(1, 1), (100, 1), (7, 300), (1000, 64), (3, 5000)])
def test_parts_cover_all_items(count, size, monkeypatch):
    monkeypatch.setattr(buffers, "CACHE_BYTES", 1 << 12)
    parts = list(buffers.cache_blocks(count, size))
    assert [item for start, stop in parts for item in range(start, stop)] == list(range(count))
    assert all((stop - start - 1) * size * 4 <= 1.5 * buffers.CACHE_BYTES for start, stop in parts)


def test_only_uneven_layouts_are_copied():
    wide = maps(2, 16, 5, 6)
    for even in (wide, wide[:, 8:], wide[:1, :8]):
        assert buffers.channels_last_rows(even) is even
    for uneven in (wide.contiguous(), wide[:, :, ::2], wide[..., 1:]):
        copied = buffers.channels_last_rows(uneven)
        assert copied.equal(uneven)
        assert copied.is_contiguous(memory_format=torch.channels_last)
