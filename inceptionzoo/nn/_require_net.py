"""The check that an argument is a model of this library."""

from torch import nn

from ..errors import ArgumentError, name_type
from ._net import Net


def require_net(model: object, function: str) -> Net:
    """Return the model, which was passed to `function`.

    Raises:
        ArgumentError: it is no `Net`. The message names the attribute of it that is one.
    """
    if isinstance(model, Net):
        return model
    modules = model.named_modules() if isinstance(model, nn.Module) else ()
    inside = next((path for path, part in modules if isinstance(part, Net)), "")
    path = f"model.{inside}" if all(map(str.isidentifier, inside.split("."))) else f"model.get_submodule({inside!r})"
    remedy = f"; pass the model in it: {path}" if inside else ""
    raise ArgumentError(f"model is {name_type(model)}; {function} takes a model of create_model or build{remedy}")
