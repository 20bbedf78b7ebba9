"""The time from the start of a Python process to its first prediction: imports, a file of weights, one image."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ZooError
from ..nn import Net
from ..weights import save_weights
from ._libraries import entry_name, export_onnx, installed_runtimes, layout_in, save_in_layout, torchvision_options

OWN_FILE, TORCHVISION_FILE, ONNX_FILE = "inceptionzoo.safetensors", "torchvision.safetensors", "model.onnx"
IMAGES, OUTPUTS = "images.npy", "outputs.npy"
OWN = """
import numpy as np, torch
import inceptionzoo as iz
torch.set_num_threads({threads})
model = iz.create_model({name!r}, weights={own!r}).eval()
{prepare}with torch.inference_mode():
    outputs = model(torch.from_numpy(np.load({images!r})))
np.save({outputs!r}, outputs.numpy())
"""
TORCHVISION = """
import numpy as np, torch, torchvision
from safetensors.torch import load_file
torch.set_num_threads({threads})
model = torchvision.models.get_model({name!r}, weights=None, **{options!r}).eval()
model.load_state_dict(load_file({torchvision!r}))
with torch.inference_mode():
    outputs = model(torch.from_numpy(np.load({images!r})))
np.save({outputs!r}, outputs.numpy())
"""
ONNXRUNTIME = """
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}
session = onnxruntime.InferenceSession({onnx!r}, options, providers=["CPUExecutionProvider"])
images = np.load({images!r})
np.save({outputs!r}, session.run(None, {{session.get_inputs()[0].name: images}})[0])
"""
OPENVINO = """
import numpy as np, openvino
settings = {{"INFERENCE_NUM_THREADS": {threads}, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}}
network = openvino.Core().compile_model({onnx!r}, "CPU", settings)
np.save({outputs!r}, network(np.load({images!r}))[0])
"""


def start_scripts(model: Net, images: Tensor, folder: Path, *, with_peers: bool) -> dict[str, str]:
    """Return Python code by name, which predicts the outputs of the images and writes them; write the files that it reads.

    The fused model reads the results of earlier tuning from the user's cache.
    """
    save_weights(model, folder / OWN_FILE)
    np.save(folder / IMAGES, images.numpy())
    files = {"own": OWN_FILE, "torchvision": TORCHVISION_FILE, "onnx": ONNX_FILE, "images": IMAGES, "outputs": OUTPUTS}
    values: dict[str, Any] = {key: str(folder / file) for key, file in files.items()}
    values |= {"name": entry_name(model), "threads": torch.get_num_threads()}
    scripts = {
        "inceptionzoo": OWN.format(**values, prepare=""),
        "fused": OWN.format(**values, prepare="model = iz.fuse(model)\n"),
    }
    if with_peers and layout_in("torchvision", model):
        save_in_layout(model, "torchvision", folder / TORCHVISION_FILE)
        scripts["torchvision"] = TORCHVISION.format(**values, options=torchvision_options(model))
    runtimes = installed_runtimes() if with_peers else []
    if runtimes:
        (folder / ONNX_FILE).write_bytes(export_onnx(model, images))
    if "onnxruntime" in runtimes:
        scripts["ONNX Runtime"] = ONNXRUNTIME.format(**values)
    if "openvino" in runtimes:
        scripts["OpenVINO"] = OPENVINO.format(**values)
    return scripts


def run_script(script: str, folder: Path) -> tuple[float, Tensor]:
    """Run Python code in a new process; return its seconds, from start to end, and the outputs that it wrote.

    Raises:
        ZooError: the process failed.
    """
    start = time.perf_counter()
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise ZooError(f"bench: a process failed: {(process.stderr.splitlines() or ['no message'])[-1]}")
    return seconds, torch.from_numpy(np.load(folder / OUTPUTS))
