"""`inceptionzoo bench`: how fast models run here, beside their peers, measured so that anyone can repeat it."""

from .report import Timings, bench

__all__ = ["Timings", "bench"]
