"""The same network with the same weights in other libraries: torchvision, timm, ONNX Runtime, OpenVINO."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..nn import Net
from ..weights import exported_state_dict

Call = Callable[[Tensor], Tensor]


def entry_name(model: Net) -> str:
    """Return the registered name of a model that `create_model` built."""
    assert model.entry is not None
    return model.entry.name


def own_options(model: Net) -> dict[str, Any]:
    """Return the keyword arguments with which `create_model` builds the model's network."""
    head = {"num_classes": model.num_classes, "global_pool": model.global_pool}
    return {**head, "in_chans": model.in_chans, **model.arguments}


def layout_in(library: str, model: Net) -> str | None:
    """Return the name of the layout that a library has for the model's weights, or None if it lacks the network."""
    import torchvision

    if model.entry is None or model.arguments or model.in_chans != model.entry.data.input_size[0]:
        return None  # its network is another one
    if model.global_pool != "avg" or not model.num_classes:
        return None  # its head is another one
    name = entry_name(model)
    layouts = {layout.name for layout in model.entry.layouts}
    if library == "torchvision":
        return "torchvision" if "torchvision" in layouts and name in torchvision.models.list_models() else None
    candidates = ("timm", "torchvision")  # some models of timm have torchvision's tensor names
    return next((layout for layout in candidates if layout in layouts and _is_in_timm(name)), None)


def _is_in_timm(name: str) -> bool:
    """Return whether timm has its own model of this name, not one that `interop.timm.register` added."""
    from timm.models import is_model, model_entrypoint

    from ..interop.timm import is_bridged

    return is_model(name) and not is_bridged(model_entrypoint(name))


def build_torchvision(model: Net, *, random: bool = False) -> Any:
    """Return torchvision's network with the model's weights, or with torchvision's random initialisation."""
    network = _torchvision_network(model, random=random)
    if not random:
        network.load_state_dict(exported_state_dict(model, "torchvision"))
    return network


def _torchvision_network(model: Net, *, random: bool) -> Any:
    import torchvision

    return torchvision.models.get_model(entry_name(model), weights=None, **torchvision_options(model, random=random))


def torchvision_options(model: Net, *, random: bool = False) -> dict[str, Any]:
    """Return the keyword arguments of torchvision's builder for a network like the model, without auxiliary heads."""
    name = entry_name(model)
    options: dict[str, Any] = {"num_classes": model.num_classes}
    has_aux = name in ("googlenet", "inception_v3")
    if has_aux or name.startswith("vgg"):
        options["init_weights"] = random
    return {**options, "aux_logits": False, "transform_input": False} if has_aux else options


def build_timm(model: Net, *, random: bool = False) -> Any:
    """Return timm's network with the model's weights, or with timm's random initialisation."""
    import timm

    network = timm.create_model(entry_name(model), num_classes=model.num_classes)
    if not random:
        layout = layout_in("timm", model)
        assert layout is not None
        network.load_state_dict(exported_state_dict(model, layout))
    return network


def load_torchvision(model: Net, file: Path) -> Any:
    """Return torchvision's network with the weights of a file, built without initial weights as torchvision itself does."""
    network = _torchvision_network(model, random=False)
    network.load_state_dict(load_file(file))
    return network


def load_timm(model: Net, file: Path) -> Any:
    """Return timm's network with the weights of a file."""
    import timm

    return timm.create_model(entry_name(model), num_classes=model.num_classes, checkpoint_path=str(file))


BUILDERS = {"torchvision": build_torchvision, "timm": build_timm}
LOADERS = {"torchvision": load_torchvision, "timm": load_timm}


def save_in_layout(model: Net, layout: str, file: Path) -> None:
    """Write the model's weights to a file, with the names of another library."""
    save_file({key: value.contiguous() for key, value in exported_state_dict(model, layout).items()}, file)


def installed_runtimes() -> list[str]:
    """Return the names of the installed packages that can run an ONNX file; none if torch cannot export one."""
    return [name for name in ("onnxruntime", "openvino") if find_spec(name)] if find_spec("onnxscript") else []


def runtimes(model: Net, images: Tensor) -> Iterator[tuple[str, Call]]:
    """Yield the name of each installed ONNX runtime, and a function that runs the model in it."""
    installed = installed_runtimes()
    if not installed:
        return
    data = export_onnx(model, images)
    if "onnxruntime" in installed:
        yield "ONNX Runtime", onnxruntime_call(data)
    if "openvino" in installed:
        import openvino

        yield "OpenVINO", openvino_call(openvino.Core().read_model(data))


def onnxruntime_call(data: bytes) -> Call:
    """Return a function that runs an ONNX file in ONNX Runtime, with torch's number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (name,) = (argument.name for argument in session.get_inputs())
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def openvino_call(network: Any) -> Call:
    """Return a function that runs OpenVINO's network, with torch's number of threads; what is not in int8 is in float32."""
    import openvino

    threads = torch.get_num_threads()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(network, "CPU", settings)
    return lambda x: torch.from_numpy(compiled(x.numpy())[0])


def export_onnx(model: nn.Module, images: Tensor) -> bytes:
    """Return the model as an ONNX file, for inputs of the images' shape."""
    with warnings.catch_warnings(action="ignore"):
        program: Any = torch.onnx.export(model, (images,), dynamo=True, verbose=False)
    data: bytes = program.model_proto.SerializeToString()
    return data
