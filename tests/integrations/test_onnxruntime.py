"""ONNX Runtime: an exported model, fused or not, with a dynamic batch size."""

import onnx
import onnxruntime
import pytest
import torch
from helpers import distance, fill, noise

import inceptionzoo as iz


def assert_equal(session, model):
    for count in (1, 3):
        x = noise(count, 3, 64, 64)
        (logits,) = session.run(None, {"images": x.numpy()})
        with torch.inference_mode():
            assert distance(torch.from_numpy(logits), model(x)) < 1e-3


def test_a_fused_model_with_a_dynamic_batch(page):
    names = page("ONNX Runtime")
    assert names["logits"].shape == (5, 2)
    kinds = [node.op_type for node in onnx.load("model.onnx").graph.node]
    assert kinds.count("Conv") == 39  # of 57
    assert "BatchNormalization" not in kinds
    assert_equal(names["session"], names["model"])


@pytest.mark.integration
def test_a_plain_model_with_a_dynamic_batch(tmp_path):
    model = fill(iz.create_model("googlenet", num_classes=2), noise(4, 3, 64, 64))
    torch.onnx.export(
        model, (noise(2, 3, 64, 64),), tmp_path / "model.onnx", dynamo=True, verbose=False, external_data=False,
        input_names=["images"], dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    assert_equal(onnxruntime.InferenceSession(tmp_path / "model.onnx"), model)
