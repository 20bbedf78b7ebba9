"""The user's metrics: functions of a `Result`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import ArgumentError, ZooError
from ..evaluation import Result, Task, made_up_result

Metrics = Mapping[str, Callable[[Result], float]]


def check_metrics(name: str, metrics: object) -> None:
    """Check that `metrics` is a dict of names and functions.

    Raises:
        ArgumentError: it is not.
    """
    if not isinstance(metrics, Mapping) or not all(isinstance(key, str) and callable(metrics[key]) for key in metrics):
        raise ArgumentError(f"{name}={metrics!r} must be a dict of functions of a Result, such as {{'error': lambda r: ...}}")


def try_metrics(metrics: Metrics, task: Task, class_names: Sequence[str] | None) -> None:
    """Compute each metric on a made-up result of the task, with every class, so that an error comes before the first epoch.

    Raises:
        ArgumentError: a metric raises an error, or does not return a number.
    """
    for name, metric in metrics.items():
        compute_metric(name, metric, made_up_result(task, class_names), ArgumentError)


def compute_metric(name: str, metric: Callable[[Result], float], result: Result, error: type[ZooError]) -> float:
    """Return a metric of a result as a float; raise `error`, which names the metric, if that fails."""
    try:
        return float(metric(result))
    except Exception as reason:  # any error of the user's function
        raise error(f"metrics: {name!r} cannot be computed: {type(reason).__name__}: {reason}") from reason
