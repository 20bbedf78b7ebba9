"""The table of the benchmark, whose rows are printed as they are measured, and the notes below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from inceptionzoo.bench._timing import quartiles, time_ratio

HEAD = ("job", "model", "batch", "precision", "form", "ms", "quartiles", "images/s", "time ratio", "error", "MiB")
ALIGN = ("---", "---", "---:", "---", "---", "---:", "---:", "---:", "---:", "---:", "---:")
LINE = "| {:9} | {:12} | {:>5} | {:9} | {:41} | {:>7} | {:>13} | {:>8} | {:>16} | {:>6} | {:>6} |".format
LEGEND = (
    "time ratio: the time divided by that of `inceptionzoo, channels_last` (in training: `inceptionzoo`), round by round: "
    "median (quartiles). error: the largest difference from float32 without TF32, relative to the largest output. "
    "MiB: what a training step allocates."
)


@dataclass(slots=True)
class Table:
    """The table, as plain text and as Markdown. `notes` are printed below it; `failed` says whether a form has failed."""

    notes: list[str] = field(default_factory=list)
    failed: bool = False

    def begin(self) -> None:
        """Print the head."""
        print(LINE(*HEAD), LINE(*ALIGN), sep="\n", flush=True)

    def add(
        self,
        job: tuple[str, str, int, str],
        times: Mapping[str, list[float]],
        reference: str,
        errors: Mapping[str, float] | None = None,
        memory: Mapping[str, float | None] | None = None,
    ) -> None:
        """Print a row for each form of (job, model, batch size, precision); `times` are in seconds, `memory` is in MiB."""
        for form, seconds in times.items():
            low, median, high = (1000 * value for value in quartiles(seconds))
            ratio = "{:.2f} ({:.2f}-{:.2f})".format(*time_ratio(seconds, times[reference])) if reference in times else "-"
            numbers = _short(median), f"{_short(low)}-{_short(high)}", _short(1000 * job[2] / median), ratio
            error, mebibytes = (errors or {}).get(form), (memory or {}).get(form)
            optional = "-" if error is None else f"{error:.0e}", "-" if mebibytes is None else f"{mebibytes:.0f}"
            print(LINE(*job, form, *numbers, *optional), flush=True)

    def attempt(self, name: str, call: Callable[[], object]) -> bool:
        """Call, and return whether it has succeeded; if not, note its error."""
        try:
            call()
        except Exception as error:
            text = (str(error).splitlines() or ["no message"])[0]
            self.notes.append(f"{name} has failed: {type(error).__name__}: {text[:300]}")
            self.failed = True
            return False
        return True

    def end(self) -> None:
        """Print the legend and the notes."""
        print("", LEGEND, *self.notes, sep="\n", flush=True)


def _short(value: float) -> str:
    """Return a number with three digits, or with all that it has before the decimal point."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
