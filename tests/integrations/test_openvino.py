"""OpenVINO: an exported model with a dynamic batch size, and an ONNX file, fused or not."""

import pytest
import torch
from helpers import distance, fill, noise

import inceptionzoo as iz

pytestmark = pytest.mark.integration


def assert_equal(compiled, model):
    for count in (1, 3):
        x = noise(count, 3, 64, 64)
        with torch.inference_mode():
            assert distance(torch.from_numpy(compiled(x.numpy())[0]), model(x)) < 1e-3  # in bfloat16: 0.1


def test_a_fused_model_with_a_dynamic_batch(page):
    names = page("OpenVINO")
    assert names["logits"].shape == (5, 2)
    assert_equal(names["compiled"], names["model"])


@pytest.mark.parametrize("fused", [False, True])
def test_an_onnx_file(fused, tmp_path):
    import openvino

    model = fill(iz.create_model("googlenet", num_classes=2), noise(4, 3, 64, 64))
    torch.onnx.export(
        iz.fuse(model) if fused else model, (noise(2, 3, 64, 64),), tmp_path / "model.onnx", dynamo=True, verbose=False,
        external_data=False, dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    assert_equal(openvino.compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}), model)
