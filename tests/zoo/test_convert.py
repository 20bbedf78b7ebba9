"""convert: weights of other libraries become files of this library."""

import pytest
import safetensors
import torch
import torchvision

import inceptionzoo as iz
from inceptionzoo.weights import exported_state_dict, read_weights


def bits(model: iz.Net) -> dict[str, bytes]:
    return {key: value.numpy().tobytes() for key, value in model.state_dict().items()}


def test_convert_a_checkpoint_of_pytorch_cifar(tmp_path):
    """The checkpoint is {"net", "acc", "epoch"}; DataParallel put "module." before each key."""
    torch.manual_seed(0)
    model = iz.create_model("googlenet_cifar", num_classes=2)
    theirs = exported_state_dict(model, "pytorch-cifar")
    torch.save(
        {"net": {f"module.{key}": value for key, value in theirs.items()}, "acc": 79.03, "epoch": 198}, tmp_path / "a.pth"
    )
    report = iz.convert(
        tmp_path / "a.pth", tmp_path / "b.safetensors", architecture="googlenet_cifar", class_names=["benign", "malignant"]
    )
    assert (report.layout, report.taken, report.left_random) == ("pytorch-cifar", "net", [])
    again = iz.load_model(tmp_path / "b.safetensors")
    assert bits(again) == bits(model)
    assert again.class_names == ("benign", "malignant")
    with safetensors.safe_open(tmp_path / "b.safetensors", "pt") as file:
        assert "inceptionzoo" in file.metadata()
    iz.convert(tmp_path / "b.safetensors", tmp_path / "c.safetensors")  # the metadata names the architecture
    assert bits(iz.load_model(tmp_path / "c.safetensors")) == bits(model)
    iz.save_pretrained(model, tmp_path / "folder")
    iz.convert(f"local-dir:{tmp_path / 'folder'}", tmp_path / "d.safetensors")
    assert bits(iz.load_model(tmp_path / "d.safetensors")) == bits(model)


def test_a_file_of_this_library_keeps_what_it_says(tmp_path):
    model = iz.with_aux(iz.create_model("googlenet", num_classes=2))
    iz.save_weights(model, tmp_path / "a.safetensors", class_names=["a", "b"], metrics={"auc": 0.75})
    for options, metrics in (({}, {"auc": 0.75}), ({"architecture": "googlenet", "metrics": {"loss": 1.0}}, {"loss": 1.0})):
        report = iz.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", **options)
        assert report.dropped == []
        assert read_weights(tmp_path / "b.safetensors").metadata.metrics == metrics
        assert bits(iz.load_model(tmp_path / "b.safetensors")) == bits(model)
    iz.save_pretrained(model, tmp_path / "folder", metrics={"auc": 0.75})
    report = iz.convert(f"local-dir:{tmp_path / 'folder'}", tmp_path / "b.safetensors")
    assert (report.dropped, read_weights(tmp_path / "b.safetensors").metadata.metrics) == ([], {"auc": 0.75})
    assert bits(iz.load_model(tmp_path / "b.safetensors")) == bits(model)
    with pytest.raises(iz.ArgumentError, match="architecture='vgg16': local-dir:.* holds 'googlenet'; leave out"):
        iz.convert(f"local-dir:{tmp_path / 'folder'}", tmp_path / "c.safetensors", architecture="vgg16")
    iz.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", num_classes=3)
    assert read_weights(tmp_path / "b.safetensors").metadata.metrics == {}  # they are those of another head


def test_without_an_architecture_the_error_lists_the_models_that_fit(tmp_path):
    peer = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False, num_classes=3)
    torch.save(peer.state_dict(), tmp_path / "a.pth")
    with pytest.raises(iz.ArgumentError, match=r"pass architecture=NAME; its tensors fit googlenet$"):
        iz.convert(tmp_path / "a.pth", tmp_path / "b.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(iz.ArgumentError, match="its tensors fit none of list_models"):
        iz.convert(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


def test_progress_bar(tmp_path, tiny, capsys):
    iz.save_weights(tiny, tmp_path / "a.safetensors")
    iz.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert capsys.readouterr().err == ""
    iz.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", progress=True)
    assert "write" in capsys.readouterr().err


def test_class_names_in_one_string_are_refused(tmp_path, tiny):
    iz.save_weights(tiny, tmp_path / "a.safetensors")
    with pytest.raises(iz.ArgumentError, match="class_names='abc' must be 3 different strings"):
        iz.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", class_names="abc")
    with pytest.raises(iz.ArgumentError, match="class_names='abc' must be 3 different strings"):
        iz.save_pretrained(tiny, tmp_path / "out", class_names="abc")
