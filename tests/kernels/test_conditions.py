"""Which tensors the kernels read; they leave all others to torch."""

import pytest
import torch

from inceptionzoo.kernels._conditions import is_kernel_input

X = torch.rand(1, 3, 8, 8)

OTHERS = {
    "another dtype": X.double(),
    "another device": X.to("meta"),
    "a sparse layout": X.to_sparse(),
    "oneDNN's layout": X.to_mkldnn(),
    "another number of dimensions": X[0],
    "no values": X[:0],
    "negated memory": torch.complex(X, X).conj().imag,
    "a subclass": torch.nn.Parameter(X),
}


def test_kernels_read_plain_tensors():
    assert is_kernel_input(X)
    assert is_kernel_input(X.contiguous(memory_format=torch.channels_last))
    assert is_kernel_input(X[0], dims=1)


@pytest.mark.parametrize("x", OTHERS.values(), ids=OTHERS)
def test_kernels_leave_other_tensors_to_torch(x):
    assert not is_kernel_input(x)
