"""torchao: int8 convolutions, and their accuracy on digits."""

import pytest
import torch
from helpers import distance
from torch.utils.data import DataLoader

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The input of maxpool2d is not quantized"),  # expected: see docs/embedding/inference.md
]


def is_quantised(graph):
    """Return whether the input and the weight of every convolution are dequantised int8 tensors."""
    convolutions = [node for node in graph.graph.nodes if "conv2d" in str(node.target)]
    assert len(convolutions) == 57
    return all("dequantize" in str(argument.target) for node in convolutions for argument in node.args[:2])


def test_accuracy_in_int8(page):
    names = page("torchao")
    int8, fast, loader = names["int8"], names["fast"], DataLoader(names["held_out"], 60, drop_last=True)
    assert is_quantised(int8)
    assert sum(value.numel() for value in int8.state_dict().values() if value.dtype == torch.int8) > 5_500_000
    with torch.no_grad():
        logits = {
            name: torch.cat([model(images) for images, _ in loader])
            for name, model in {"float": names["model"], "int8": int8, "fast": fast}.items()
        }
    targets = torch.cat([targets for _, targets in loader])
    accuracy = {name: float((each.argmax(1) == targets).float().mean()) for name, each in logits.items()}
    assert accuracy["float"] > 0.7
    assert abs(accuracy["int8"] - accuracy["float"]) < 0.02
    assert abs(accuracy["fast"] - accuracy["float"]) < 0.02
    assert 0 < distance(logits["int8"], logits["float"]) < 0.2
    assert distance(logits["fast"], logits["int8"]) < 0.05
