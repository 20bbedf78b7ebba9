"""Benchmarks: time and memory of models here and in other libraries. `inceptionzoo bench` on the command line."""

from ._run import bench
from ._runners import PRECISIONS
from ._timings import Timings

__all__ = ["PRECISIONS", "Timings", "bench"]
