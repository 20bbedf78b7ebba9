"""The same network, the same weights, by every way of running it that is installed: ours, and the peers'."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from ..inference import fuse
from ..nn import Net
from ..weights import exported_state_dict

Call = Callable[[Tensor], Tensor]
OURS = ("inceptionzoo", "fused", "fused, compiled")


def ours(model: Net, dtype: torch.dtype, *, compiled: bool) -> Iterator[tuple[str, Call]]:
    """Yield our own forms of the model, in `dtype`: as it is, fused, and compiled."""
    yield "inceptionzoo", model if dtype is torch.float32 else copy.deepcopy(model).to(dtype)
    yield "fused", fuse(model).to(dtype)
    if compiled:
        yield "fused, compiled", fuse(model, compile=True).to(dtype)


def peers(model: Net, images: Tensor, *, compiled: bool) -> Iterator[tuple[str, Call]]:
    """Yield the peers that are installed and have this network, with this model's weights, in the images' dtype."""
    for name, build in LIBRARIES.items():
        if layout_of(model, name):
            other = build(model).eval().to(images)
            yield name, other
            other = copy.deepcopy(other).to(memory_format=torch.channels_last)
            yield f"{name}, channels_last", other
            if compiled:
                yield f"{name}, compiled", torch.compile(other, options={"freezing": True})
    if images.device.type == "cpu" and images.dtype is torch.float32:
        yield from _runtimes(model, images)


def _named(model: Net, layout: str) -> str | None:
    """Return the model's name, where its weights have this layout."""
    entry = model.entry
    return entry.name if entry is not None and layout in {item.name for item in entry.layouts} else None


def layout_of(model: Net, library: str) -> str | None:
    """Return the name of the layout in which a library has this model, or None where it does not."""
    import torchvision

    if library == "torchvision":
        name = _named(model, "torchvision")
        return "torchvision" if name and hasattr(torchvision.models, name) else None
    layouts = ("timm", "torchvision")  # the names of some of timm's are torchvision's
    return next((layout for layout in layouts if (name := _named(model, layout)) and _has_timm(name)), None)


def _has_timm(name: str) -> bool:
    """Return whether timm has a model of this name, of its own: our bridge may have put ours there."""
    from timm.models import is_model, model_entrypoint

    from ..interop.timm import is_bridged

    return is_model(name) and not is_bridged(model_entrypoint(name))


def in_torchvision(model: Net, *, drawn: bool = False) -> Any:
    """Return torchvision's network with the model's weights; with `drawn`, with the random ones that it begins with."""
    import torchvision

    assert model.entry is not None
    name = model.entry.name
    inception = name in ("googlenet", "inception_v3")
    options = {"init_weights": drawn, "aux_logits": False, "transform_input": False} if inception else {}
    other = getattr(torchvision.models, name)(weights=None, num_classes=model.num_classes, **options)
    if not drawn:
        other.load_state_dict(exported_state_dict(model, "torchvision"))
    return other


def in_timm(model: Net, *, drawn: bool = False) -> Any:
    """Return timm's network with the model's weights; with `drawn`, with the random ones that it begins with."""
    import timm

    assert model.entry is not None
    other = timm.create_model(model.entry.name, num_classes=model.num_classes)
    if not drawn:
        layout = layout_of(model, "timm")
        assert layout is not None
        other.load_state_dict(exported_state_dict(model, layout))
    return other


LIBRARIES = {"torchvision": in_torchvision, "timm": in_timm}


def _runtimes(model: Net, images: Tensor) -> Iterator[tuple[str, Call]]:
    """Yield runtimes that take the model as ONNX."""
    wanted = [name for name in ("onnxruntime", "openvino") if find_spec(name)]
    if not wanted or not find_spec("onnxscript"):
        return
    data = _onnx(model, images)
    if "onnxruntime" in wanted:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        (name,) = (entry.name for entry in session.get_inputs())
        yield "ONNX Runtime", lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])
    if "openvino" in wanted:
        import openvino

        core, threads = openvino.Core(), torch.get_num_threads()
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        network = core.compile_model(core.read_model(data), "CPU", settings)
        yield "OpenVINO", lambda x: torch.from_numpy(network(x.numpy())[0])


def _onnx(model: nn.Module, images: Tensor) -> bytes:
    with warnings.catch_warnings(action="ignore"):
        program: Any = torch.onnx.export(model, (images,), dynamo=True, verbose=False)
    data: bytes = program.model_proto.SerializeToString()
    return data
