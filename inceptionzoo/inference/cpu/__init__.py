"""CPU kernels in float32, generated as LLVM IR with llvmlite and compiled for this processor at run time.

The modules build on each other in this order:

- `_jit` compiles an LLVM module and calls the machine code on torch's OpenMP threads.
- `_codegen` (`KernelBuilder`) emits the IR that kernels share: loops over tiles and channels, loads, stores, ReLU.
- Kernels are functions that emit one kernel, compile it and return its address: `gather_kernel` and `scatter_kernel` in
  `_tile_transforms`, `gemm_kernel` in `_gemm`, `max_pool_kernel`, `average_pool_kernel`. Each is cached by its parameters.
- Ops (`_kernel.KernelOp`) do what a torch module does with one or several kernels: `Im2colConv`, `WinogradConv`, `MaxPoolOp`,
  `AveragePoolOp`, and `ChannelPaddedConv` around another op. `op.launches(x, y, scratch)` yields `KernelLaunch` pairs: the
  address of a kernel and a ctypes structure with its arguments.
- `_launch` runs a list of launches in a single OpenMP parallel region.

`_buffers` holds the memory helpers and `_winograd_matrices` the coefficients of Winograd's algorithm. `_onednn` is apart: it
calls oneDNN through torch and needs no llvmlite. All feature maps are (n, c, h, w) tensors in channels_last (NHWC) memory;
strides and offsets are in floats, addresses in bytes.

Import the other modules only after `_autotune.has_jit()` has returned True: llvmlite is an optional dependency.
"""
