"""Scratch memory is reused by name, and work is divided into parts that cover it."""

import pytest
import torch
from convolutions import maps
from helpers import noise

from inceptionzoo.kernels import _buffers as buffers


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


def test_large_scratch_memory_is_forgotten(monkeypatch):
    monkeypatch.setattr(buffers, "MAX_KEPT_BYTES", 400)
    scratch = buffers.ScratchArena()
    scratch.empty("a", 60)
    scratch.trim()
    assert scratch.size == 60
    scratch.empty("b", 60)
    scratch.trim()
    assert scratch.size == 0


@pytest.mark.parametrize(("count", "size"), [(1, 1), (100, 1), (7, 300), (1000, 64), (3, 5000)])
def test_parts_cover_all_items(count, size, monkeypatch):
    monkeypatch.setattr(buffers, "CACHE_BYTES", 1 << 12)
    parts = list(buffers.cache_blocks(count, size))
    assert [item for start, stop in parts for item in range(start, stop)] == list(range(count))
    assert all((stop - start - 1) * size * 4 <= 1.5 * buffers.CACHE_BYTES for start, stop in parts)


@pytest.mark.parametrize(("weight_bytes", "parts"), [(0, 24), (1 << 12, 24), (6 << 10, 16), (1 << 13, 12), (1 << 20, 12)])
def test_parts_are_larger_if_each_reads_a_large_weight(weight_bytes, parts, monkeypatch):
    monkeypatch.setattr(buffers, "CACHE_BYTES", 1 << 12)
    assert len(list(buffers.cache_blocks(96, 1 << 8, weight_bytes))) == parts


def test_only_uneven_layouts_are_copied():
    wide = maps(2, 16, 5, 6)
    for even in (wide, wide[:, 8:], wide[:1, :8]):
        assert buffers.channels_last_rows(even).data_ptr() == even.data_ptr()
        assert buffers.channels_last_rows(even).equal(even)
    for uneven in (wide.contiguous(), wide[:, :, ::2], wide[..., 1:]):
        copied = buffers.channels_last_rows(uneven)
        assert copied.equal(uneven)
        assert copied.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "sides", [(8, 3, 1, 1), (1, 3, 5, 1), (1, 3, 1, 5), (1, 3, 1, 1), (2, 1, 4, 1), (2, 1, 1, 3), (1, 1, 1, 1)]
)
def test_strides_of_sides_of_length_one_do_not_matter(sides):
    """Torch leaves them arbitrary; pixels are as far apart as the longer sides say, or adjacent."""
    x = maps(*sides)
    for other in (1, 2, 7, 1000):
        odd = x.as_strided(x.shape, [other if side == 1 else stride for side, stride in zip(x.shape, x.stride(), strict=True)])
        for make in (buffers.channels_last_rows, buffers.dense):
            rows = make(odd)
            assert rows.data_ptr() == x.data_ptr()
            assert rows.stride() == buffers.empty_channels_last(*sides).stride()
            assert rows.equal(x)
    contiguous = buffers.channels_last_rows(noise(*sides))
    assert contiguous.stride() == buffers.empty_channels_last(*sides).stride()
    assert contiguous.equal(noise(*sides))


@pytest.mark.parametrize("sides", [(3, 4, 5, 6), (1, 4, 5, 6), (3, 1, 5, 6), (3, 4, 1, 6), (3, 4, 5, 1)])
def test_dense_layouts(sides):
    """Whatever the layout, the result has the strides of a new contiguous or channels_last tensor."""
    wide = noise(*(2 * side for side in sides))
    layouts = [
        wide[: sides[0], : sides[1], : sides[2], : sides[3]],
        wide[::2, ::2, ::2, ::2],
        wide[:1, : sides[1], : sides[2], :1].expand(sides),
        noise(1).expand(sides),
        noise(sum(sides) - 3).as_strided(sides, (1, 1, 1, 1)),
        noise(*sides[::-1]).permute(3, 2, 1, 0),
        noise(*sides),
        maps(*sides),
    ]
    expected = noise(*sides).stride(), buffers.empty_channels_last(*sides).stride()
    for x in layouts:
        assert buffers.dense(x).equal(x)
        assert buffers.dense(x).stride() in expected
    assert buffers.dense(layouts[-1]).data_ptr() == layouts[-1].data_ptr()
    assert buffers.dense(layouts[-2]).data_ptr() == layouts[-2].data_ptr()


def test_maps_that_are_not_finite_are_replaced():
    y, other = maps(3, 2, 4, 5), noise(3, 2, 4, 5)
    assert buffers.replace_not_finite(y, lambda: other) is y
    for value in ("nan", "inf", "-inf"):
        broken = y.clone()
        broken[1, 1, 3, 4] = float(value)
        kept = broken.clone()
        replaced = buffers.replace_not_finite(broken, lambda: other)
        assert replaced[[0, 2]].equal(y[[0, 2]])
        assert replaced[1].equal(other[1])
        assert replaced.stride() == y.stride()
        assert broken.nan_to_num().equal(kept.nan_to_num())
    large = torch.full_like(y, 3e38)
    assert buffers.replace_not_finite(large, lambda: other) is large
