"""A publisher's file that was fetched by hand is recognised, and has the publisher's preprocessing."""

import hashlib
import io
from dataclasses import replace

import pytest
import torch

import inceptionzoo as iz
from inceptionzoo.zoo._registry import REGISTRY

STEM = "features.stem.conv.weight"
OWN = iz.Layout("own", (("features.stem.", "start."), ("head.fc.", "last.")))
DATA = iz.DataConfig(input_size=(3, 8, 8), mean=(0.1, 0.2, 0.3))


@pytest.fixture
def published(tiny, tmp_path):
    """A publisher's file for BGR images with values from 0 to 255; returns its path and the tensors that it gives."""
    state = {key: value + 1 for key, value in tiny.state_dict().items()}
    theirs = {OWN.theirs(key): value.flip(1) / 255 if key == STEM else value for key, value in state.items()}
    buffer = io.BytesIO()
    torch.save(theirs, buffer)
    (tmp_path / "renamed.pth").write_bytes(buffer.getvalue())
    row = iz.Published(
        url="https://example.org/tiny.pth",
        digest=f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}",
        license="mit",
        layout="own",
        data=DATA,
        num_classes=3,
        bgr=True,
        scale=255.0,
    )
    other = replace(row, digest="sha1:0123456789", url="https://example.org/other.pth")
    REGISTRY["tiny"] = replace(REGISTRY["tiny"], layouts=(OWN,), weights={"other": other, "first": row})
    return tmp_path / "renamed.pth", state


def set_row(**changes: object) -> None:
    """Change the row of the publisher's file; the other row is removed."""
    entry = REGISTRY["tiny"]
    REGISTRY["tiny"] = replace(entry, weights={"first": replace(entry.weights["first"], **changes)})


@pytest.mark.parametrize("arguments", [{}, {"num_classes": 2}, {"num_classes": 0}, {"features_only": True}], ids=str)
def test_a_file_with_the_checksum_of_a_row_is_that_row(published, arguments):
    path, wanted = published
    model = iz.create_model("tiny", weights=path, **arguments)
    assert model.data == DATA
    assert model.report.published == "tiny.first (recognised by its checksum)"
    assert "published: tiny.first (recognised by its checksum)" in str(model.report)
    assert (model.report.preprocessing, model.report.differs) == ("", {})
    torch.testing.assert_close(model.state_dict()[STEM], wanted[STEM])
    assert iz.create_model("tiny.first", weights=path).report.published == "tiny.first"


def test_another_file_is_not(published):
    """One value more, the tensors alone, another number of classes: the model's own preprocessing is assumed, and said."""
    path, _ = published
    state = torch.load(path, weights_only=True)
    torch.save({key: value + 1 for key, value in state.items()}, path)
    heads = {"last.weight": torch.ones(5, 8), "last.bias": torch.ones(5)}
    tags = "; of the published weights only tiny.other, tiny.first expect another; name the tag for a file of theirs"
    for source, known in ((path, tags), (state, tags), (state | heads, "")):
        model = iz.create_model("tiny", weights=source)
        assert (model.report.published, model.data) == ("", REGISTRY["tiny"].data)
        assert model.report.preprocessing == (
            f"assumed, as the source states none: 8 x 8 px, mean {model.data.mean}, std {model.data.std}{known}"
        )
        assert f"preprocessing: {model.report.preprocessing}" in str(model.report)
        stored = torch.load(path, weights_only=True) if source is path else state
        assert model.state_dict()[STEM].equal(stored[OWN.theirs(STEM)])


def test_the_preprocessing_of_published_weights_is_compared_for_the_models_channels(published):
    """With one channel or another size, only the other mean and std count."""
    path, _ = published
    state = {key: value + 1 for key, value in torch.load(path, weights_only=True).items()}
    set_row(data=iz.DataConfig())
    model = iz.create_model("tiny", weights=state, in_chans=1)
    assert model.report.preprocessing.endswith(f"std {model.data.std}")
    set_row(data=DATA)
    for arguments in ({"in_chans": 1}, {"features_only": True}):
        report = iz.create_model("tiny", weights=state, **arguments).report
        assert "of the published weights only tiny.first expect another" in report.preprocessing


def test_load_weights_converts_the_tensors_and_keeps_the_models_preprocessing(published):
    path, wanted = published
    model = iz.create_model("tiny")
    before = model.data
    report = iz.load_weights(model, path)
    assert model.data == before
    assert report.published == "tiny.first (recognised by its checksum)"
    assert report.differs == {"data.mean": f"saved with {DATA.mean}, here {before.mean}"}
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, wanted[key])


def test_a_pruned_model_recognises_the_file_too(published):
    path, wanted = published
    model = iz.create_model("tiny")
    model.prune_intermediate_layers(["stem"])
    assert model.entry is None
    report = iz.load_weights(model, path)
    assert report.published == "tiny.first (recognised by its checksum)"
    torch.testing.assert_close(model.state_dict()[STEM], wanted[STEM])


def test_without_a_checksum_the_layout_and_the_classes_decide(published):
    path, _ = published
    state = torch.load(path, weights_only=True)
    set_row(digest="")
    for source in (path, state):
        model = iz.create_model("tiny", weights=source)
        assert model.data == DATA
        assert "by its layout and number of classes; the publisher states no checksum" in model.report.published
    more = {"last.weight": torch.ones(5, 8), "last.bias": torch.ones(5)}
    assert iz.create_model("tiny", weights=state | more).report.published == ""
    assert iz.create_model("tiny", weights={f"net.{key}": value for key, value in state.items()}).report.published == ""
    set_row(url="hf-hub:owner/tiny")
    assert iz.create_model("tiny", weights=state).report.published == ""


def test_a_file_without_a_usable_classifier_is_recognised(published):
    path, _ = published
    state = torch.load(path, weights_only=True)
    state["last.weight"][0] = torch.nan
    torch.save(state, path)
    set_row(digest=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}", headless=True, num_classes=0)
    model = iz.create_model("tiny", weights=path)
    assert (model.num_classes, model.data) == (0, DATA)


def test_facenets_file(tmp_path):
    """Its layout and its number of people are those of a row; other preprocessing would change every embedding."""
    faces = iz.create_model("inception_resnet_v1", num_classes=10575)
    iz.export_weights(faces, tmp_path / "faces.pt", layout="facenet-pytorch")
    model = iz.create_model("inception_resnet_v1", weights=tmp_path / "faces.pt", num_classes=0)
    assert model.data == iz.model_info("inception_resnet_v1").weights["casia_webface"].data
    assert model.data.input_size == (3, 160, 160)
    assert model.report.published.startswith("inception_resnet_v1.casia_webface (recognised by its layout")


def test_i3ds_file_for_optical_flow_is_not_taken_for_that_of_images(tmp_path):
    """It has the layout and the number of classes of the published one, and two input channels."""
    for channels, expected in ((3, "i3d.rgb_kinetics400"), (2, "i3d.flow_kinetics400")):
        iz.export_weights(iz.create_model("i3d", in_chans=channels, num_classes=400), tmp_path / "i3d.pt", layout="pytorch-i3d")
        model = iz.create_model("i3d", weights=tmp_path / "i3d.pt")
        assert (model.in_chans, model.report.published.split()[0]) == (channels, expected)
        assert model.data.input_size[0] == channels
