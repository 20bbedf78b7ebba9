"""Time GoogLeNet, Inception v3 and VGG-16 on a GPU, beside torchvision and timm, and print one table.

python tools/gpu_bench.py --device cuda                     # five minutes
python tools/gpu_bench.py --device cpu --quick              # small images and few rounds, to test this script

Rows: the model in contiguous and channels_last memory format, fused, and as a CUDA graph; a training step of GoogLeNet; a
training of `googlenet_cifar` on digits; then compiled models, which take longest to prepare. Float32 uses TF32. What there is
no time for is listed below the table. The exit status is 1 if something has failed.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from gpu_forms import REFERENCE, Form, compiled_forms, eager_forms, is_channels_last, networks, set_tf32
from gpu_machine import check, describe
from gpu_table import Table
from gpu_timing import Budget, time_in_turn
from gpu_training import peak_memory, train_on_digits, training_steps
from torch import Tensor

import inceptionzoo as iz
from inceptionzoo.bench import PRECISIONS
from inceptionzoo.bench._timing import relative_error

MODELS = ("googlenet", "inception_v3", "vgg16")
DIGITS_SECONDS = 120.0
Forms = Callable[[dict[str, Any], torch.device], dict[str, Form]]


@dataclass(slots=True)
class Bench:
    """The benchmark on a device: its batch sizes, image side (None: each model's own), rounds, and table."""

    device: torch.device
    batches: tuple[int, ...] = (1, 8, 128)
    size: int | None = None
    rounds: int = 9
    table: Table = field(default_factory=Table)
    _built: tuple[tuple[str, str], iz.Net, dict[str, Any]] | None = None

    def build(self, name: str, precision: str) -> tuple[iz.Net, dict[str, Any]]:
        """Return the model in float32 and the networks in a precision. Those of the last call are freed or reused."""
        if self._built is None or self._built[0] != (name, precision):
            self.free()
            model = iz.create_model(name).eval().to(self.device)
            self._built = (name, precision), model, networks(model, PRECISIONS[precision])
        return self._built[1:]

    def free(self) -> None:
        """Free the memory of the networks, and forget what was compiled."""
        self._built = None
        torch.compiler.reset()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def images(self, model: iz.Net, batch: int) -> Tensor:
        """Return random images for the model, (batch, 3, h, w), in float32."""
        sides = model.data.size if self.size is None else (self.size, self.size)
        return torch.randn(batch, 3, *sides, generator=torch.Generator().manual_seed(0)).to(self.device)

    def inference(self, forms: Forms, name: str, precision: str, batch: int, budget: Budget) -> None:
        """Time the forms of a model on a batch of images, and add a row for each."""
        model, nets = self.build(name, precision)
        errors: dict[str, float] = {}
        calls: dict[str, Callable[[], Tensor]] = {}
        with torch.inference_mode():
            images = self.images(model, batch)
            set_tf32(False)
            expected = model(images)
            set_tf32(True)
            images = images.to(PRECISIONS[precision])

            def prepare(form: str, make: Form) -> None:
                x = images.contiguous(memory_format=torch.channels_last) if is_channels_last(form) else images
                run = make(x)
                errors[form] = relative_error(run(x), expected)
                calls[form] = partial(run, x)

            for form, make in forms(nets, self.device).items():
                text = f"{name}, {precision}, batch {batch}: {form}"
                if budget.left:
                    self.table.attempt(text, partial(prepare, form, make))
                else:
                    budget.skipped.append(text)
            times = time_in_turn(calls, self.rounds, self.device)
        self.table.add(("inference", name, batch, precision), times, REFERENCE, errors)

    def training(self, name: str, precision: str, batch: int) -> None:
        """Time a training step of a model, and add a row for each library."""
        self.free()
        images = self.images(iz.create_model(name, device="meta"), batch)
        steps = training_steps(name, images, precision)
        times = time_in_turn(steps, self.rounds, self.device)
        memory = {form: peak_memory(step, self.device) for form, step in steps.items()}
        self.table.add(("training", name, batch, precision), times, "inceptionzoo", memory=memory)

    def digits(self, seconds: float, *, quick: bool) -> None:
        """Train on digits for at most about `seconds`, and note the accuracy."""
        self.free()
        self.table.notes.append(train_on_digits(self.device, seconds, quick=quick))

    def run(self, names: list[str], budget: Budget, *, quick: bool, compiled: bool) -> None:
        """Measure everything that there is time for: at most half of it for the forms that are not compiled."""
        cells = [(name, precision, batch) for name in names for precision in PRECISIONS for batch in self.batches]
        self._run_cells("", eager_forms, cells, budget.section(0.5))
        steps = partial(self.training, "googlenet", "bf16", 4 if quick else 64)
        budget.run("the training step", partial(self.table.attempt, "the training step", steps))
        digits = partial(self.digits, min(DIGITS_SECONDS, budget.left / 2), quick=quick)
        budget.run("the training on digits", partial(self.table.attempt, "the training on digits", digits))
        if compiled:
            chosen = cells[:1] if quick else sorted(cells, key=lambda cell: cell[1:])  # bf16 before fp32, small batches first
            self._run_cells("torch.compile: ", compiled_forms, chosen, budget.section(1.0))
        if budget.skipped:
            self.table.notes.append("skipped for lack of time:\n  " + "\n  ".join(budget.skipped))

    def _run_cells(self, text: str, forms: Forms, cells: list[tuple[str, str, int]], budget: Budget) -> None:
        for name, precision, batch in cells:
            label = f"{text}{name}, {precision}, batch {batch}"
            cell = partial(self.inference, forms, name, precision, batch, budget)
            budget.run(label, partial(self.table.attempt, label, cell))


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=5.0, help="time for everything; default 5")
    parser.add_argument("--models", nargs="+", default=MODELS, help="any of iz.list_models() for images")
    parser.add_argument("--quick", action="store_true", help="images of 96 px, batches of 1 and 2, two rounds")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark and return the exit status."""
    asked = parse()
    if reason := check(asked.device):
        print(reason, file=sys.stderr)
        return 2
    budget = Budget.of(60 * asked.minutes)
    device = torch.device(asked.device)
    torch.backends.cudnn.benchmark = True
    set_tf32(True)
    bench = Bench(device, (1, 2), 96, 2) if asked.quick else Bench(device)
    notes = bench.table.notes
    if device.type != "cuda":
        notes.append("CUDA graphs are left out, because they need a GPU")
    print(*describe(asked.device), "on a GPU, float32 uses TF32; torch.backends.cudnn.benchmark = True", "", sep="\n")
    bench.table.begin()
    bench.run(list(asked.models), budget, quick=asked.quick, compiled=not asked.no_compile)
    bench.table.end()
    return int(bench.table.failed)


if __name__ == "__main__":
    sys.exit(main())
