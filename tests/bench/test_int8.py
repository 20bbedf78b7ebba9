"""The int8 forms of other runtimes in the benchmark."""

import onnx
import pytest
import torch
from PIL import Image

import inceptionzoo as iz
from inceptionzoo.bench import _int8 as int8
from inceptionzoo.bench import _machine as machine
from inceptionzoo.bench import bench


@pytest.fixture
def photos(tmp_path):
    """A folder of 14 images: noise of another colour each."""
    generator = torch.Generator().manual_seed(0)
    (tmp_path / "photos").mkdir()
    for index in range(14):
        colour = torch.rand(3, 1, 1, generator=generator)
        pixels = (255 * (0.7 * colour + 0.3 * torch.rand(3, 40, 40, generator=generator))).byte()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / f"{index:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def model():
    torch.manual_seed(0)
    return iz.create_model("vgg11_bn_cifar", num_classes=3).eval()


@pytest.mark.usefixtures("idle")
def test_rows_of_a_file(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "quantizers", lambda: ["onnxruntime"])
    path = str(tmp_path / "model.safetensors")
    iz.save_weights(model, path)
    options = {"batches": [2], "rounds": 1, "with_peers": True, "compiled": False}
    listed, original = [], int8.image_paths
    monkeypatch.setattr(int8, "image_paths", lambda folder: listed.append(folder) or original(folder))
    timings = bench([path], int8=photos, **options)
    assert listed == [photos]
    rows = {row.runner: row for row in timings.rows}
    assert rows["fused"].labels == rows["ONNX Runtime"].labels == 1
    assert 0.5 <= rows["ONNX Runtime, int8"].labels <= 1
    assert 1e-4 < rows["ONNX Runtime, int8"].apart < 0.3
    assert {row.model for row in timings.rows} == {path}
    assert "100.0%" in str(timings)


def test_images_calibrate_or_compare(model, photos):
    calibration, comparison = int8.read_batches(model, int8.find_images(photos, 3), 3, (32, 32))
    assert [batch.shape for batch in (*calibration, *comparison)] == [(3, 3, 32, 32)] * 4
    images = [*torch.cat(calibration), *torch.cat(comparison)]
    assert not any(one.equal(other) for index, one in enumerate(images) for other in images[:index])
    transform = iz.transforms(model)
    assert images[1].equal(transform(photos / "02.png"))
    assert images[6].equal(transform(photos / "01.png"))


def test_the_products_are_in_int8(model, photos):
    calibration, comparison = int8.read_batches(model, int8.find_images(photos, 7), 7, (32, 32))
    data = int8._quantize_onnx(int8.export_onnx(model, calibration[0]), calibration)
    graph = onnx.load_from_string(data).graph
    count = sum(isinstance(module, torch.nn.Conv2d | torch.nn.Linear) for module in model.modules())
    assert sum(value.data_type == onnx.TensorProto.INT8 and len(value.dims) > 1 for value in graph.initializer) == count
    run = int8.onnxruntime_call(data)
    agreement = int8.label_agreement({"int8": run, "wrong": lambda x: -model(x)}, model, comparison)
    assert agreement["int8"] > 0.5
    assert agreement["wrong"] == 0


def test_the_label_of_a_single_output_is_its_sign(photos):
    model = iz.create_model("vgg11_bn_cifar", num_classes=1).eval()
    batches = [torch.ones(2, 3, 32, 32)]
    assert int8.label_agreement({"same": model, "wrong": lambda x: -model(x)}, model, batches) == {"same": 1, "wrong": 0}


def test_vnni(monkeypatch):
    for flags, expected in (("fma avx2", False), ("avx2 avx512_vnni", True), ("avx_vnni", True), ("", False)):
        monkeypatch.setattr(machine, "_cpu_info", lambda field, flags=flags: flags)
        assert machine.has_vnni() is expected


def test_refusals(photos, monkeypatch):
    for options in ({}, {"with_peers": True, "job": "training"}, {"with_peers": True, "precision": "bf16"}):
        with pytest.raises(iz.ArgumentError, match=r"needs with_peers=True, job='inference', precision='fp32' and the CPU"):
            bench(["vgg11_bn_cifar"], int8=photos, **options)
    with pytest.raises(iz.ArgumentError, match="has 14 images; a batch of 8 needs 16 or more"):
        bench(["vgg11_bn_cifar"], batches=[1, 8], int8=photos, with_peers=True)
    with pytest.raises(iz.ArgumentError, match="a model of spatial_dims=1 takes no image file"):
        bench(["inception_time"], batches=[1], int8=photos, with_peers=True)
    monkeypatch.setattr(int8, "quantizers", list)
    with pytest.raises(iz.ArgumentError, match="int8 needs onnxruntime and onnxscript"):
        bench(["vgg11_bn_cifar"], int8=photos, with_peers=True)


@pytest.mark.parametrize(("count", "batch"), [(257, 128), (300, 66), (14, 7), (256, 128)])
def test_a_folder_that_is_accepted_gives_batches(tmp_path, monkeypatch, model, count, batch):
    """Of more than 256 images, 256 are taken."""
    paths = [str(tmp_path / f"{index:03}.png") for index in range(count)]
    monkeypatch.setattr(int8, "image_paths", lambda folder: paths)
    monkeypatch.setattr(int8, "quantizers", lambda: ["onnxruntime"])
    monkeypatch.setattr(int8, "transforms", lambda *_, **__: lambda path: torch.zeros(3, 4, 4))
    calibration, comparison = int8.read_batches(model, int8.find_images(tmp_path, batch), batch, (4, 4))
    assert len(calibration) == len(comparison) == min(count, 256) // 2 // batch > 0
