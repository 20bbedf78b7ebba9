"""CPU kernels in float32, generated as LLVM IR with llvmlite and compiled for this processor at run time.

The modules build on each other in this order:

- `_jit` compiles an LLVM module and calls the machine code on torch's OpenMP threads.
- `_codegen` emits the IR that kernels share, such as loops, loads and stores of vectors (`VectorBuilder`), and `_tile_kernels`
  (`TileBuilder`) that of all kernels on tiles of maps.
- The kernel functions emit and compile one kernel each and return the address of its machine code: `gather_kernel` and
  `scatter_kernel` in `_tile_transforms`, `gemm_kernel`, `max_pool_kernel` and `average_pool_kernel`. They cache their results.
- Ops (`_kernel.KernelOp`) replace a torch module by one or several kernels: `Im2colConv`, `WinogradConv`, `MaxPoolOp`,
  `AveragePoolOp`, and `ChannelPaddedConv` and `SpaceToDepthConv`, which wrap another op. `op.launches(x, y, scratch)` yields
  `KernelLaunch` pairs: the address of a kernel, and a ctypes structure with its arguments.
- `_launch` runs a list of launches in a single OpenMP parallel region.
- `_linear` is the kernel of linear layers, on rows instead of maps.
- `_training` (`KernelOps`) decides which operations of a training step run by kernels. `_convolution_training`, `_batch_norm`
  and `_max_pool_training` hold their functions for autograd; `_winograd_training`, `_batch_norm_kernels`,
  `_batch_norm_channels` and `_max_pool_gradient` the kernels of these. `_normalization_source` lets a convolution find what
  its input was computed from.

`_buffers` holds the memory helpers and `_winograd_matrices` the coefficients of Winograd's algorithm. `_onednn` is apart: it
calls oneDNN through torch and needs no llvmlite. All feature maps are (n, c, h, w) tensors in channels_last (NHWC) memory;
strides and offsets are in floats, addresses in bytes.

llvmlite is an optional dependency. What this package exports needs none; import the other modules only after `has_jit()` has
returned True.
"""

from ._buffers import dense, replace_not_finite, row_strides
from ._capabilities import has_jit, has_onednn
from ._conditions import is_kernel_input
from ._frozen_convolution import make_conv2d
from ._onednn import OneDNNConv
from ._training import KernelOps
from ._tuning_cache import (
    add_result,
    clear_tuning_cache,
    find_result,
    tuning_cache_bytes,
    tuning_cache_folder,
    write_results,
)

__all__ = [
    "KernelOps",
    "OneDNNConv",
    "add_result",
    "clear_tuning_cache",
    "dense",
    "find_result",
    "has_jit",
    "has_onednn",
    "is_kernel_input",
    "make_conv2d",
    "replace_not_finite",
    "row_strides",
    "tuning_cache_bytes",
    "tuning_cache_folder",
    "write_results",
]
