"""Kernels run on all threads, and each item is processed once."""

import ctypes

import pytest
import torch
from llvmlite import ir

from inceptionzoo.kernels import _jit
from inceptionzoo.kernels._jit import (
    INT64,
    POINTER,
    VOID,
    choose_vector_width,
    emit_loop,
    kernel,
    launch,
    load_arg,
)


class CountArgs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("counts", "start", "stop")]


def emit_count(module: ir.Module) -> ir.Function:
    """Emit a kernel that adds 1 + 2 + 3 = 6 to `counts[item]` for each item."""
    body = ir.Function(module, ir.FunctionType(VOID, [POINTER, INT64, INT64]), "body")
    builder, (args, start, stop) = ir.IRBuilder(body.append_basic_block()), body.args
    counts = builder.inttoptr(load_arg(builder, args, CountArgs, "counts"), POINTER)
    with emit_loop(builder, start, stop) as items:
        count = builder.gep(counts, [items.index], source_etype=INT64)
        with emit_loop(builder, INT64(1), INT64(4), carried=[builder.load(count, typ=INT64)]) as loop:
            loop.next_carried = [builder.add(loop.carried[0], loop.index)]
        builder.store(loop.carried[0], count)
    builder.ret_void()
    return body


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_item_is_processed_once(threads):
    address = kernel(CountArgs)(lambda: emit_count)()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for start, stop in ((0, 0), (0, 1), (3, 7), (2, 32)):
            counts = torch.zeros(32, dtype=torch.int64)
            launch(address, CountArgs(counts=counts.data_ptr(), start=start, stop=stop))
            assert counts.tolist() == [6 if start <= item < stop else 0 for item in range(32)]
    finally:
        torch.set_num_threads(threads_before)


def test_vector_width_is_the_number_of_channels_or_divides_it(monkeypatch):
    monkeypatch.setattr(_jit, "max_vector_width", lambda: 16)
    assert [choose_vector_width(channels) for channels in (1, 3, 12, 16, 24, 20, 18, 64)] == [1, 3, 12, 16, 8, 4, 1, 16]
    monkeypatch.setattr(_jit, "max_vector_width", lambda: 8)
    assert [choose_vector_width(channels) for channels in (1, 3, 12, 16, 24, 20, 18, 64)] == [1, 3, 4, 8, 8, 4, 1, 8]
