"""The layers of a fused network, one by one: what is recorded, and its rows in the benchmark."""

import json

import pytest
import torch

import inceptionzoo as iz
from inceptionzoo.bench import bench
from inceptionzoo.cli import main
from inceptionzoo.inference.layers import RecordedLayers, layer_input

SIDES = {"googlenet": (64, 64), "inception_resnet_v2": (80, 80), "inception_time": (90,)}


@pytest.mark.parametrize("name", SIDES)
def test_a_pass_gives_the_map_of_the_features(name):
    model = iz.create_model(name).eval()
    images = torch.randn(1, model.in_chans, *SIDES[name])
    fused = iz.fuse(model)
    x = layer_input(images)
    recorded = RecordedLayers(fused.features, torch.zeros_like(x), model.network.spatial_dims)
    values = [x]
    for layer in recorded.layers:
        for step in layer.steps:
            step(values)
    with torch.inference_mode():
        expected = layer_input(model.features(images))
    assert (recorded.output(values) - expected).abs().max() < 1e-4 * expected.abs().max()
    names = dict(fused.features.named_modules())
    assert all(layer.name in names for layer in recorded.layers)
    cost = iz.spec.network_cost(model.network, iz.Shape(*images.shape[1:]), 0)
    assert sum(layer.macs for layer in recorded.layers) == pytest.approx(cost.macs, rel=0.02)


@pytest.mark.usefixtures("idle")
def test_rows(capsys):
    assert main(["bench", "googlenet", "--layers", "--size", "64", "--batch", "1", "--rounds", "2", "--json"]) == 0
    total, *rows = json.loads(capsys.readouterr().out)["rows"]
    assert (total["runner"], total["ratio"]) == ("all layers", [1, 1, 1])
    assert rows[0]["runner"].startswith("conv1: ")
    implementations = {row["runner"].partition(": ")[2] for row in rows}
    assert implementations <= {"torch", "onednn", "im2col", "kernel", "rows", *(f"winograd_{m}" for m in (2, 4, 6))}
    assert len(implementations) > 1
    assert sum(row["ratio"][0] for row in rows) == pytest.approx(1, abs=0.3)
    assert {row["share"] is None for row in rows} == {True, False}  # of pools and of convolutions


def test_refusals(monkeypatch):
    with pytest.raises(iz.ArgumentError, match="with_peers=True has no effect on layers"):
        bench(job="layers", with_peers=True)
    with pytest.raises(iz.ArgumentError, match="'s3d', which takes clips"):
        bench(["s3d"], job="layers")
    monkeypatch.setattr("inceptionzoo.bench._layers.has_jit", lambda: False)
    with pytest.raises(iz.ArgumentError, match=r"needs llvmlite 0.46: pip install 'inceptionzoo\[fast\]'"):
        bench(job="layers")
