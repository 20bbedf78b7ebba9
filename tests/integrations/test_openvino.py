"""OpenVINO: an exported model, fused or not, of any batch; its own file and ONNX's."""

import pytest
import torch
from helpers import distance, fill, noise

import inceptionzoo as iz

pytestmark = pytest.mark.integration


def equal(compiled, model):
    for count in (1, 3):
        x = noise(count, 3, 64, 64)
        with torch.inference_mode():
            assert distance(torch.from_numpy(compiled(x.numpy())[0]), model(x)) < 1e-3  # bfloat16: 0.1


def test_a_fused_model_of_any_batch(page):
    names = page("OpenVINO")
    assert names["logits"].shape == (5, 2)
    equal(names["compiled"], names["model"])


@pytest.mark.parametrize("fused", [False, True])
def test_a_file_of_onnx(fused, tmp_path):
    import openvino

    model = fill(iz.create_model("googlenet", num_classes=2), noise(4, 3, 64, 64))
    torch.onnx.export(
        iz.fuse(model) if fused else model, (noise(2, 3, 64, 64),), tmp_path / "model.onnx", dynamo=True, verbose=False,
        external_data=False, dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    equal(openvino.compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}), model)
