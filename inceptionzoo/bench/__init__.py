"""`inceptionzoo bench`: how fast models run here, beside their peers, measured so that anyone can repeat it."""

from .run import bench
from .timings import Timings

__all__ = ["Timings", "bench"]
