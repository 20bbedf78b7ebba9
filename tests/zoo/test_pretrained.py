"""Published weights: each tag compared with its publisher's package, downloads from loopback, and the caches."""

import hashlib
import io
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from helpers import distance, fill, noise, one_thread, quick
from publishers import PEERS, ROWS, serve
from pytorchcv.models.bninception import bninception
from server import COMMIT, HOST

import inceptionzoo as iz
from inceptionzoo.weights import Checksum
from inceptionzoo.weights.download._cache import checkpoint_folder, read_cached, temporary_folder, torch_checkpoint_folder
from inceptionzoo.zoo._registry import REGISTRY

LARGE = {name for name in PEERS if name.startswith("vgg") and name != "vgg11.tv_in1k"}


@pytest.mark.parametrize("name", quick(PEERS, {*PEERS} - LARGE))
@one_thread()
def test_a_tag_equals_its_publishers_network(name, host, monkeypatch):
    """The publisher's package and ours give the same logits for one image, each with its own preprocessing."""
    row = ROWS[name]
    channels, *size = row.data.input_size
    small = [128, 128] if "vgg" in name else size if len(size) == 2 else None
    peer = fill(PEERS[name](), small and noise(2, channels, *small))
    state = peer.state_dict()
    if name == "vgg16.tv_features":  # torchvision publishes it so
        state = {key: value * math.nan if key.startswith("classifier") else value for key, value in state.items()}
    serve(name, state, monkeypatch)
    model = iz.create_model(name, pretrained=True).eval()
    assert (model.num_classes, model.data) == (row.num_classes, row.data)
    if name == "vgg16.tv_features":
        assert model(noise(1, 3, 64, 64)).equal(peer.features(noise(1, 3, 64, 64)).mean((2, 3)))
        return
    image = torch.rand(1, channels, *size) if len(size) == 2 else torch.rand(1, channels, 16, 224, 224)
    mean, std = (torch.tensor(values).view(-1, *[1] * len(size)) for values in (row.data.mean, row.data.std))
    ours = (image - mean) / std
    theirs = (image * 255).flip(1) - torch.tensor([104.0, 117.0, 128.0])[:, None, None] if row.bgr else ours
    with torch.no_grad():
        assert distance(model(ours), peer(theirs)) < (4e-6 if "vgg" in name else 2e-6)


def test_every_tag_has_a_test_and_complete_data():
    facenet = {"inception_resnet_v1.vggface2", "inception_resnet_v1.casia_webface"}
    keras = {name for name in ROWS if ".keras_" in name}  # see test_keras.py
    assert set(PEERS) | facenet | keras == set(ROWS)
    assert len(keras) == 10
    assert iz.list_models("*", pretrained=True) == sorted(ROWS)
    for name, row in ROWS.items():
        assert row.license, name
        assert row.layout in {layout.name for layout in REGISTRY[name.partition(".")[0]].layouts}, name
        assert row.top1 or row.note or name.endswith(("_fid.tf_2015", ".tv_features", "_notop")), name


@pytest.fixture
def small(host, register, tiny):
    """Publish weights of "tiny" for BGR images with values from 0 to 255; return the state dict that they give."""
    state = {key: value + 1 for key, value in tiny.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(
        {key: value.flip(1) / 255 if key == "features.stem.conv.weight" else value for key, value in state.items()}, buffer
    )
    data = buffer.getvalue()
    row = iz.Published(
        url="https://example.org/files/tiny.pth",
        digest=f"sha256:{hashlib.sha256(data).hexdigest()[:9]}",
        license="mit",
        layout="own",
        data=iz.DataConfig(input_size=(3, 8, 8)),
        num_classes=3,
        top1=50.0,
        bgr=True,
        scale=255.0,
    )
    REGISTRY["tiny"] = replace(REGISTRY["tiny"], layouts=(iz.Layout("own", ()),), weights={"first": row})
    host.put("/files/tiny.pth", data)
    return state


@pytest.mark.full
@pytest.mark.parametrize("tag", ["vggface2", "casia_webface"])
@one_thread()
def test_facenets_tags(tag, host, monkeypatch):
    from facenet_pytorch import InceptionResnetV1  # installed by `make test-full` without its requirements

    row = ROWS[f"inception_resnet_v1.{tag}"]
    peer = InceptionResnetV1(classify=True, num_classes=row.num_classes, device="cpu")
    peer = fill(peer, noise(2, 3, 160, 160))
    serve(f"inception_resnet_v1.{tag}", peer.state_dict(), monkeypatch)
    model, pixels = iz.create_model(f"inception_resnet_v1.{tag}", pretrained=True).eval(), torch.rand(1, 3, 160, 160)
    mean, std = (torch.tensor(values)[:, None, None] for values in (row.data.mean, row.data.std))
    with torch.no_grad():  # their normalisation is (x - 127.5) / 128 for x in 0..255
        assert distance(model((pixels - mean) / std), peer((pixels * 255 - 127.5) / 128)) < 2e-5


def test_the_publishers_file_is_downloaded_once_and_cached_unchanged(small, host, tmp_path):
    model = iz.create_model("tiny", pretrained=True)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, small[key])
    assert (model.data.input_size, host.count()) == ((3, 8, 8), 1)
    again = iz.create_model("tiny.first", True, num_classes=5, in_chans=1)
    assert host.count() == 1
    assert (again.num_classes, again.in_chans) == (5, 1)
    assert again.report.left_random == ["head.fc.weight", "head.fc.bias"]
    files = [path.relative_to(tmp_path / "cache") for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [str(path) for path in files] == ["checkpoints/tiny.pth"]
    assert (tmp_path / "cache" / "checkpoints" / "tiny.pth").read_bytes() == host.files["/files/tiny.pth"]
    elsewhere = iz.create_model("tiny", pretrained=True, cache_dir=tmp_path / "other")
    assert host.count() == 2
    assert elsewhere.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("at", [0, 1000, -1])
def test_a_damaged_cached_file_is_downloaded_again(small, host, tmp_path, monkeypatch, at):
    iz.create_model("tiny", pretrained=True)
    (path,) = (tmp_path / "cache").rglob("*.pth")
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with monkeypatch.context() as offline:
        offline.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(iz.DownloadError, match="HF_HUB_OFFLINE is set: unset it to download the file again"):
            iz.create_model("tiny", pretrained=True)
    with pytest.warns(UserWarning, match="its sha256 is .*; the cached file is damaged and downloaded again"):
        model = iz.create_model("tiny", pretrained=True)
    assert host.count() == 2
    assert model.head.fc.bias.equal(small["head.fc.bias"])


def test_a_damaged_file_is_only_replaced_by_a_whole_one(small, host, tmp_path):
    """Another process may have replaced it already: nothing is removed, also if the download fails."""
    iz.create_model("tiny", pretrained=True)
    (path,) = (tmp_path / "cache").rglob("*.pth")
    path.write_bytes(b"?")
    host.files.pop("/files/tiny.pth")
    with pytest.warns(UserWarning, match="damaged and downloaded again"), pytest.raises(iz.DownloadError):
        iz.create_model("tiny", pretrained=True)
    assert path.read_bytes() == b"?"


@pytest.mark.skipif(os.name != "posix", reason="needs locks of files")
def test_what_killed_downloads_left_is_removed(tmp_path):
    code = "import os, sys; from inceptionzoo.weights.download._cache import temporary_folder\n"
    code += "with temporary_folder(__import__('pathlib').Path(sys.argv[1])) as path: (path / 'part').touch(); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert (left / "part").exists()
    with temporary_folder(tmp_path) as running:
        assert list(tmp_path.iterdir()) == [running]
        with temporary_folder(tmp_path) as other:  # as of another process
            assert {running, other} == set(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_that_another_process_replaces(tmp_path):
    path, whole = tmp_path / "a", b"whole"
    checksum = Checksum("sha256", hashlib.sha256(whole).hexdigest())
    path.write_bytes(b"?")

    def read(path: Path, checksum: Checksum | None) -> bytes:
        data = path.read_bytes()
        path.write_bytes(whole)  # as another process would
        try:
            checksum.check_bytes(data)
        except ValueError as error:
            raise iz.FileError(str(error)) from error
        return data

    assert read_cached(path, checksum, read) == (whole,)
    path.unlink()
    assert read_cached(path, checksum, read) is None


def test_torch_hubs_file_is_used_if_it_has_the_checksum(small, host, tmp_path):
    """torch.hub, torchvision and timm cache files under the same name."""
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    assert torch.hub.get_dir() == str(folder.parent)
    data = host.files["/files/tiny.pth"]
    (folder / "tiny.pth").write_bytes(data)
    assert iz.create_model("tiny", pretrained=True).head.fc.bias.equal(small["head.fc.bias"])
    assert host.requests == []
    (folder / "tiny.pth").write_bytes(data[:-1] + b"?")
    assert iz.create_model("tiny", pretrained=True).head.fc.bias.equal(small["head.fc.bias"])
    assert host.count() == 1
    assert (folder / "tiny.pth").read_bytes() == data[:-1] + b"?"  # the file of another program is not changed


@pytest.mark.parametrize("name", ["tiny.pth", "weights.pth"])
def test_a_copy_in_the_hubs_cache_is_used_if_it_has_the_checksum(small, host, tmp_path, name):
    """huggingface_hub stores a file under its sha256, and links to it from the name that it has in a repository."""
    data, repository = host.files["/files/tiny.pth"], tmp_path / "hub" / "models--someone--copies"
    for folder in ("blobs", "snapshots/0123"):
        (repository / folder).mkdir(parents=True)
    blob = repository / "blobs" / hashlib.sha256(data).hexdigest()
    blob.write_bytes(data)
    (repository / "snapshots" / "0123" / name).symlink_to(blob)
    assert iz.create_model("tiny", pretrained=True).head.fc.bias.equal(small["head.fc.bias"])
    assert host.requests == []
    blob.write_bytes(data[:-1] + b"?")
    assert iz.create_model("tiny", pretrained=True).head.fc.bias.equal(small["head.fc.bias"])
    assert host.count() == 1


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "{}/a"}, {"XDG_CACHE_HOME": "{}/b"}, {"HOME": "{}/c"}], ids=str)
def test_the_folder_of_checkpoints_is_torch_hubs(tmp_path, monkeypatch, variables):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert str(torch_checkpoint_folder()) == f"{torch.hub.get_dir()}/checkpoints"


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HOME": "{}/a"}, "a/.cache/inceptionzoo"),
        ({"HOME": "{}/a", "XDG_CACHE_HOME": "{}/b"}, "b/inceptionzoo"),
        ({"XDG_CACHE_HOME": "{}/b", "INCEPTIONZOO_CACHE": "{}/c"}, "c"),
    ],
    ids=str,
)
def test_the_folder_of_this_librarys_checkpoints(tmp_path, monkeypatch, variables, folder):
    for name in ("INCEPTIONZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert checkpoint_folder(None) == tmp_path / folder / "checkpoints"
    assert checkpoint_folder(tmp_path / "given") == tmp_path / "given" / "checkpoints"


@pytest.mark.parametrize(("bgr", "scale"), [(True, 1.0), (False, 255.0), (False, 1.0)])
def test_a_row_with_only_one_change_of_the_input(small, host, bgr, scale):
    """`small` serves a first convolution for BGR images with values from 0 to 255."""
    entry = REGISTRY["tiny"]
    REGISTRY["tiny"] = replace(entry, weights={"first": replace(entry.weights["first"], bgr=bgr, scale=scale)})
    kernel = small["features.stem.conv.weight"].flip(1) / 255
    expected = (kernel.flip(1) if bgr else kernel) * scale
    torch.testing.assert_close(iz.create_model("tiny", pretrained=True).features.stem.conv.weight.data, expected)


def without_checksum() -> None:
    """Remove the checksum from the row of `small`; FaceNet's publisher states none."""
    entry = REGISTRY["tiny"]
    REGISTRY["tiny"] = replace(entry, weights={"first": replace(entry.weights["first"], digest="")})


def test_without_a_published_checksum_the_cached_file_has_one_in_its_name(small, host, tmp_path):
    without_checksum()
    data = host.files["/files/tiny.pth"]
    shared = tmp_path / "torch" / "hub" / "checkpoints" / "tiny.pth"
    shared.parent.mkdir(parents=True)
    shared.write_bytes(data)  # nothing proves that this is the publisher's file
    iz.create_model("tiny", pretrained=True)
    iz.create_model("tiny", pretrained=True)
    assert host.count() == 1
    (path,) = (tmp_path / "cache" / "checkpoints").iterdir()
    assert path.name == f"tiny-{hashlib.sha256(data).hexdigest()[:16]}.pth"
    path = path.rename(path.with_name(f"tiny-{'0' * 16}.pth"))  # as if the publisher's file had been another
    path.write_bytes(data[:-1] + b"?")
    with pytest.warns(UserWarning, match="damaged and downloaded again"):
        iz.create_model("tiny", pretrained=True)
    assert host.count() == 2
    iz.create_model("tiny", pretrained=True)
    assert host.count() == 2


def test_wrong_bytes_are_refused(small, host, tmp_path):
    path = "/files/tiny.pth"
    host.files[path] = host.files[path][:-1] + b"?"
    with pytest.raises(iz.DownloadError, match="its sha256 is [0-9a-f]{9} and must be [0-9a-f]{9}"):
        iz.create_model("tiny", pretrained=True)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_a_publishers_file_can_be_passed_as_weights_of_its_tag(small, host, tmp_path):
    (tmp_path / "by_hand.pth").write_bytes(host.files["/files/tiny.pth"])
    model = iz.create_model("tiny.first", weights=tmp_path / "by_hand.pth")
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, small[key])
    assert model.data == REGISTRY["tiny"].weights["first"].data
    assert host.requests == []


def test_a_damaged_zip_is_refused(host, monkeypatch):
    name = "bn_inception.pcv_in1k"
    serve(name, bninception().state_dict(), monkeypatch)
    path = "/" + ROWS[name].url.split("/", 3)[3]
    whole = host.files[path]
    host.files[path] = whole[: len(whole) // 2] + bytes(99) + whole[len(whole) // 2 + 99 :]
    with pytest.raises(iz.DownloadError, match="is not a zip archive that contains|its sha1 is"):
        iz.create_model(name, pretrained=True)


@pytest.mark.parametrize("fault", ["HTML", "truncated", "empty", "no headers"])
def test_without_a_published_checksum_the_download_must_be_a_checkpoint(small, host, fault):
    without_checksum()
    host.faults.append(fault)
    assert iz.create_model("tiny", pretrained=True).head.fc.bias.equal(small["head.fc.bias"])


OFFLINE = """
import inceptionzoo as iz
try:
    print(iz.create_model("inception_resnet_v2", pretrained=True).num_classes)
except iz.DownloadError as error:
    print(error)
"""


def test_offline_error_names_the_remedy(host, tmp_path):
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "INCEPTIONZOO_CACHE": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, env=environment, timeout=120)
    assert "inception_resnet_v2.tf_in1k is not cached, and HF_HUB_OFFLINE is set; unset it to download" in done.stdout, (
        done.stderr
    )
    assert host.requests == []


def test_the_cache_serves_offline(small, host, monkeypatch):
    iz.create_model("tiny", pretrained=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    host.reset()
    assert iz.create_model("tiny", pretrained=True).head.fc.bias.equal(small["head.fc.bias"])
    assert host.requests == []


def test_a_tag_without_its_weights_has_its_arguments(small):
    model = iz.create_model("vgg16.tv_features", device="meta")
    assert (model.num_classes, model.network.head.kind, model.data.std) == (0, "pool", (1 / 255,) * 3)
    assert iz.create_model("vgg16.tv_features", num_classes=4, device="meta").num_classes == 4
    assert iz.model_info("googlenet.tv_in1k").weights["tv_in1k"].top1 == 69.778
    assert iz.is_model("googlenet.tv_in1k")
    assert not iz.is_model("googlenet.tv")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: iz.create_model("googlenet.tv_in1", True), "unknown weights 'googlenet.tv_in1'; did you mean 'tv_in1k'?"),
        (lambda: iz.create_model("vgg11_lrn.x"), "unknown weights 'vgg11_lrn.x'. 'vgg11_lrn' has none published"),
        (lambda: iz.create_model("vgg11_lrn", True), "no published weights are listed for 'vgg11_lrn'; pass weights=FILE"),
        (
            lambda: iz.create_model("googlenet", True, weights="a.pth"),
            "weights='a.pth' and published weights were both asked",
        ),
        (lambda: iz.create_model("googlenet", True, cache_dir=3), "cache_dir=3 must be the path of a folder"),
    ],
)
def test_refusals(host, call, text):
    with pytest.raises(iz.ArgumentError) as error:
        call()
    assert text in str(error.value)
    assert host.requests == []


def test_the_checksum_of_a_hub_row_is_the_hubs(host):
    """The registry has no checksums of timm's files. Their bytes must match the Hub's etag."""
    state = {key: torch.zeros(()) for key in "ab"}
    HOST.put_repo("timm/inception_v4.tf_in1k", {"model.safetensors": safetensors.torch.save(state)})
    with pytest.raises(
        iz.MismatchError, match="hf-hub:timm/inception_v4.tf_in1k is for a model of 42,679,816 parameters and holds 2 values"
    ):
        iz.create_model("inception_v4", pretrained=True)
    assert [request[:2] for request in host.requests] == [
        (method, f"/timm/inception_v4.tf_in1k/resolve/{revision}/model.safetensors")
        for method, revision in (("HEAD", "main"), ("HEAD", COMMIT), ("GET", COMMIT))
    ]
    host.requests.clear()
    with pytest.raises(iz.MismatchError):
        iz.create_model("inception_v4", pretrained=True)
    assert host.requests == []  # a cached tag needs no request
