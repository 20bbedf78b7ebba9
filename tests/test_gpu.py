"""Networks on a GPU, compared with the CPU. INCEPTIONZOO_TEST_DEVICE=cpu runs the tests without a GPU."""

import copy
from functools import cache

import pytest
import torch
from helpers import GPU, distance, fill, noise
from torch import Tensor, nn
from torch.nn import functional as F

import inceptionzoo as iz

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("without_tf32")]

MODELS = {"googlenet": {}, "inception_v3": {}, "vgg11_bn": {"head": "pool"}, "xception_keras": {}}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
MODES = {  # dtype, memory format, and the largest errors of the outputs and the gradients of a stage
    "fp32": (torch.float32, torch.contiguous_format, 1e-4, 0.03),
    "fp32, channels_last": (torch.float32, torch.channels_last, 1e-4, 0.03),
    "bf16, channels_last": (torch.bfloat16, torch.channels_last, 0.05, 0.3),  # many values near 0 change their sign
}


def make(name: str) -> iz.Net:
    """Return the model on the CPU with 50 classes, random weights and statistics, and no dropout, in evaluation mode."""
    model = iz.create_model(name, num_classes=50, drop_rate=0.0, **MODELS[name])
    return fill(model, noise(4, 3, 96, 96, seed=2))


def gradients(module: nn.Module, x: Tensor, cotangent: Tensor, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the output of the module, and the gradients of its parameters and of x, in float64 on the CPU."""
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
        y = module(x)
    y.backward(cotangent.to(y))
    found = {"output": y.detach(), "input": x.grad, **{key: value.grad for key, value in module.named_parameters()}}
    return {key: value.cpu().double() for key, value in found.items()}


def errors(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> tuple[float, float]:
    """Return the relative error of the output, and the largest of the gradients, by their norms.

    A gradient that is nearly zero, such as that of a bias before batch normalisation, is compared with the largest one.
    """
    assert ours.keys() == theirs.keys()
    norms = {key: float(value.norm()) for key, value in theirs.items()}
    apart = {key: float((ours[key] - value).norm()) for key, value in theirs.items()}
    largest = max(norm for key, norm in norms.items() if key != "output")
    relative = [apart[key] / (norms[key] + 0.01 * largest) for key in apart if key != "output"]
    return apart["output"] / norms["output"], max(relative)


@cache
def reference(name: str) -> list[tuple[str, Tensor, Tensor, dict[str, Tensor]]]:
    """Return the name, input, cotangent and results of each stage in training mode, in float64 on the CPU."""
    found, x, model = [], noise(4, 3, 96, 96), make(name).double().train()
    model.set_memory_saving(False)  # torch's own modules
    for key, stage in model.features.named_children():
        x = x.bfloat16().double()  # values that every dtype has
        cotangent = noise(*copy.deepcopy(stage)(x).shape)
        expected = gradients(stage, x, cotangent)
        found.append((key, x.float(), cotangent, expected))
        x = expected["output"]
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_each_stage_in_training(name, mode):
    """The stages get the same inputs, because random networks amplify rounding errors from stage to stage."""
    dtype, memory_format, output_limit, gradient_limit = MODES[mode]
    stages = dict(make(name).train().to(GPU, memory_format=memory_format).features.named_children())
    for key, x, cotangent, expected in reference(name):
        ours = gradients(stages[key], x.to(GPU, memory_format=memory_format), cotangent.to(GPU), dtype)
        output, gradient = errors(ours, expected)
        assert output < output_limit, key
        assert gradient < gradient_limit, key


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("name", MODELS)
def test_the_whole_network(name, memory_format):
    model, x, cotangent = make(name), noise(2, 3, 96, 96), noise(2, 50)
    expected = gradients(copy.deepcopy(model).double(), x.double(), cotangent.double())
    model.to(GPU, memory_format=FORMATS[memory_format])
    ours = gradients(model, x.to(GPU, memory_format=FORMATS[memory_format]), cotangent.to(GPU))
    output, gradient = errors(ours, expected)
    assert output < 1e-3
    assert gradient < 0.3


def run(model: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs for images of any device, as float32 on the CPU."""
    with torch.inference_mode():
        return model(x.to(next(model.parameters()))).float().cpu()


@pytest.mark.filterwarnings("ignore:fuse")  # of kernels that only a CPU uses
@pytest.mark.parametrize("name", MODELS)
def test_fuse(name):
    model, x = make(name), noise(4, 3, 96, 96)
    expected = run(model, x)
    fused = iz.fuse(model.to(GPU))
    assert next(fused.parameters()).device.type == GPU.type
    assert distance(run(fused, x), expected) < 1e-3
    moved = iz.fuse(make(name)).to(GPU)
    assert distance(run(moved, x), expected) < 1e-3
    for half in (model.bfloat16(), fused.bfloat16()):
        assert F.cosine_similarity(run(half, x).flatten(), expected.flatten(), 0) > 0.9


@pytest.mark.skipif(GPU.type != "cuda", reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("fused", [False, True])
def test_a_cuda_graph(fused):
    model, x, other = make("googlenet").to(GPU), noise(2, 3, 96, 96).to(GPU), noise(2, 3, 96, 96, seed=3)
    net, stream, graph = iz.fuse(model, tune=False) if fused else model, torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode(), torch.cuda.stream(stream):
        net(x)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.inference_mode(), torch.cuda.graph(graph):
        y = net(x)
    x.copy_(other)
    graph.replay()
    assert distance(y.cpu(), run(model, other)) < 1e-3
