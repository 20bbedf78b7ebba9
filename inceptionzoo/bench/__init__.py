"""`inceptionzoo bench`: how fast models run here, beside their peers, measured so that anyone can repeat it."""

from ._jobs import PRECISIONS
from ._run import bench
from ._timings import Timings

__all__ = ["PRECISIONS", "Timings", "bench"]
