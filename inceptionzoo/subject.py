"""What a table or a picture is asked to show: a name, a model or a network, and the size of its images."""

from __future__ import annotations

from .cost import Shape
from .errors import ArgumentError, check_size
from .net import Net
from .network import GlobalPool, Network
from .registry import find, make_network


def find_subject(
    model: str | Net | Network, input_size: tuple[int, int, int] | None, taken: str
) -> tuple[str, Network, int, GlobalPool, Shape]:
    """Return title, network, number of classes, pooling and input of what is to be shown; `taken` says what can be.

    Raises:
        UnknownModelError: no such model.
        ArgumentError: it is no model, or the size is none.
    """
    pool: GlobalPool = "avg"
    if isinstance(model, Network):
        title, network, classes, own = "network", model, 1000, (3, 224, 224)
    elif isinstance(model, Net):
        title, network, classes = model.entry.name if model.entry else "network", model.network, model.num_classes
        pool, own = model.global_pool, (model.in_chans, *model.data.input_size[1:])
    elif isinstance(model, str):
        entry = find(model)
        title, network, classes, own = entry.name, make_network(entry, {}), entry.num_classes, entry.data.input_size
    else:
        raise ArgumentError(f"model of type {type(model).__name__}: {taken}")
    return title, network, classes, pool, as_shape(own if input_size is None else input_size)


def as_shape(input_size: tuple[int, int, int]) -> Shape:
    """Return an image's size (c, h, w), a tuple or a list, as a shape.

    Raises:
        ArgumentError: it is none.
    """
    size = tuple(input_size) if isinstance(input_size, list) else input_size
    check_size("input_size", size)
    return Shape(*size)
