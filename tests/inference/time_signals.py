"""Time the fused InceptionTime beside the networks of sktime and tsai, if installed, and beside runtimes, on equal weights.

python tests/inference/time_signals.py --batch 1 16 --length 128
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # helpers.py

import torch
from helpers import distance, fill, sktime_network
from torch import Tensor, nn

import inceptionzoo as iz
from inceptionzoo.bench._libraries import runtimes
from inceptionzoo.bench._machine import background_load
from inceptionzoo.bench._timing import quartiles, time_interleaved, time_ratio

Call = Callable[[Tensor], Tensor]


def sktimes(channels: int) -> tuple[nn.Module, Call]:
    """Return sktime's network, whose input is (n, length, channels), and the same as a function of (n, channels, length)."""
    network = sktime_network(channels, 5)
    return network, lambda x: network(x.transpose(1, 2))


def tsais(channels: int) -> tuple[nn.Module, Call]:
    """Return tsai's network."""
    from tsai.models.InceptionTime import InceptionTime

    network = fill(InceptionTime(channels, 5))
    return network, network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{torch.get_num_threads()} threads, other processes use {background_load():.2f} cores")
    for library, build in {"sktime": sktimes, "tsai": tsais}.items():
        if not find_spec(library):
            continue
        network, run = build(options.channels)
        model = iz.create_model("inception_time", weights=network.state_dict()).eval()
        for batch in options.batch:
            x = torch.randn(batch, options.channels, options.length)
            candidates = {"fused": iz.fuse(model), "inceptionzoo": model, library: run}
            candidates[f"{library}, compiled"] = torch.compile(run, options={"freezing": True})
            candidates |= dict(runtimes(model, x))
            with torch.inference_mode():
                errors = {name: distance(call(x), model(x)) for name, call in candidates.items()}
                times = time_interleaved(
                    {name: partial(call, x) for name, call in candidates.items()}, options.rounds, torch.device("cpu")
                )
            for name, seconds in times.items():
                low, median, high = (1000 * value for value in quartiles(seconds))
                ratio = time_ratio(seconds, times["fused"])[0]
                print(
                    f"{batch:4} x {options.channels} x {options.length}  {name:20} {median:8.2f} ms ({low:.2f}-{high:.2f})  "
                    f"{ratio:5.2f}  error {errors[name]:.0e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
