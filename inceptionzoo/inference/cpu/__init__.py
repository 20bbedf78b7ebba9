"""Kernels for the CPU, generated with llvmlite. Nothing here is imported before llvmlite is known to be there."""
