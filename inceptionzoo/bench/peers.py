"""The same network, the same weights, by every way of running it that is installed: ours, and the peers'."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from ..inference import fuse
from ..net import Net
from ..weights.export import exported

Call = Callable[[Tensor], Tensor]
OURS = ("inceptionzoo", "fused", "fused, compiled")


def ours(model: Net, *, compiled: bool) -> Iterator[tuple[str, Call]]:
    """Yield our own forms of the model: as it is, fused, and compiled."""
    yield "inceptionzoo", model
    yield "fused", fuse(model)
    if compiled:
        yield "fused, compiled", fuse(model, compile=True)


def peers(model: Net, images: Tensor, *, compiled: bool) -> Iterator[tuple[str, Call]]:
    """Yield the peers that are installed and have this network, with this model's weights."""
    for name, build in (("torchvision", _torchvision), ("timm", _timm)):
        other = build(model)
        if other is not None:
            other = other.eval().to(images.device)
            yield name, other
            other = copy.deepcopy(other).to(memory_format=torch.channels_last)
            yield f"{name}, channels_last", other
            if compiled:
                yield f"{name}, compiled", torch.compile(other, options={"freezing": True})
    if images.device.type == "cpu":
        yield from _runtimes(model, images)


def _named(model: Net, layout: str) -> str | None:
    """Return the model's name, where its weights have this layout."""
    entry = model.entry
    return entry.name if entry is not None and layout in {item.name for item in entry.layouts} else None


def _torchvision(model: Net) -> Any:
    import torchvision

    name = _named(model, "torchvision")
    if name is None or not hasattr(torchvision.models, name):
        return None
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "transform_input": False}
    other = getattr(torchvision.models, name)(weights=None, num_classes=model.num_classes, **options)
    other.load_state_dict(exported(model, "torchvision"))
    return other


def _timm(model: Net) -> Any:
    import timm

    for layout in ("timm", "torchvision"):  # the names of some of its models are torchvision's
        name = _named(model, layout)
        if name is not None and timm.is_model(name):
            other = timm.create_model(name, num_classes=model.num_classes)
            with suppress(RuntimeError):
                other.load_state_dict(exported(model, layout))
                return other
    return None


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
