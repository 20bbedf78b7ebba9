"""Register networks of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from ..errors import ArgumentError, check_flag, check_int, check_size, check_text, plain_int
from ..spec import AXES, MAX_CHANNELS, DataConfig, Entry, Layout, Network, Recipe, make_network
from ._options import COMMON
from ._registry import REGISTRY

BUILT_IN = frozenset(REGISTRY)
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
KEYWORD_KINDS = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def register_model(
    name: str,
    network: Network | Callable[..., Network],
    *,
    paper: str = "",
    about: str = "",
    num_classes: int = 1000,
    input_size: tuple[int, ...] | None = None,
    data: DataConfig | None = None,
    recipe: Recipe | None = None,
    layouts: tuple[Layout, ...] = (),
    replace: bool = False,
) -> None:
    """Register a model, so that `create_model(name)` builds it.

    `network` is a `Network`, or a function that returns one. `create_model` passes keyword arguments on to the function, whose
    parameters must have defaults, and names that `create_model` does not use itself. `num_classes` is the default number of
    classes. `data` describes the preprocessing; the default is ImageNet's, with images of (3, 224, 224), or clips of
    (3, 224, 224, 224). `input_size` (channels, height, width) replaces the size in `data`. `recipe` holds the defaults of
    `fit`. `layouts` are the names that other libraries give to the tensors. `paper` and `about` appear in `model_info`.
    `replace=True` replaces a model that you have registered under this name before, for example when a notebook cell runs
    again. Models that exist already keep their network.

    Raises:
        ArgumentError: the name is invalid, already registered, or that of a model of this library; `network` is not a
            network, or a function with other parameters; or another argument is invalid.
    """
    if not isinstance(name, str) or not name or not set(name) <= NAME_CHARACTERS:
        raise ArgumentError(f"name={name!r} must be made of letters, digits, '_' and '-'")
    check_flag("replace", replace)
    if name in BUILT_IN:
        raise ArgumentError(f"model {name!r} is one of this library, which cannot be replaced; choose another name")
    if name in REGISTRY and not replace:
        raise ArgumentError(f"model {name!r} is already registered; choose another name, or pass replace=True")
    num_classes = check_int("num_classes", plain_int(num_classes), 0)
    if input_size is not None:
        check_size("input_size", input_size, max_channels=MAX_CHANNELS)
    check_text("paper", paper)
    check_text("about", about)
    for argument, value, kind in (("data", data, DataConfig), ("recipe", recipe, Recipe)):
        if value is not None and not isinstance(value, kind):
            raise ArgumentError(f"{argument}={value!r} must be a {kind.__name__}, for example {kind.__name__}()")
    if not isinstance(layouts, tuple | list) or not all(isinstance(layout, Layout) for layout in layouts):
        raise ArgumentError(f"layouts={layouts!r} must be a tuple of Layout(name, prefixes)")
    if callable(network):
        _check_parameters(name, network)
    dims = make_network(Entry(name=name, network=network, paper=paper), {}).spatial_dims  # raises if it gives no network
    data = data or DataConfig().with_spatial_dims(dims)
    data = data.sized(*input_size) if input_size else data
    if len(data.size) != dims:
        raise ArgumentError(f"input_size={data.input_size!r} must be (channels, {', '.join(AXES[dims])}) for this network")
    REGISTRY[name] = Entry(
        name=name,
        network=network,
        paper=paper,
        about=about,
        num_classes=num_classes,
        data=data,
        recipe=recipe or Recipe(),
        layouts=tuple(layouts),
    )


def _check_parameters(name: str, function: Callable[..., Network]) -> None:
    """Check that `create_model` can call a function with no argument, and with any of its parameters as a keyword.

    Raises:
        ArgumentError: it cannot.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"network={function!r} must be a network, or a function that returns one") from error
    for parameter in parameters:
        if parameter.name in ("name", *COMMON):
            problem = "create_model takes an argument of this name itself; choose another"
        elif parameter.kind not in KEYWORD_KINDS:
            problem = "it must be passed by its name; name each parameter, in place of *, ** and /"
        elif parameter.default is parameter.empty:
            problem = "it must have a default value"
        else:
            continue
        raise ArgumentError(f"model {name!r}: parameter {str(parameter)!r} of its function: {problem}")
