"""Repositories of the Hugging Face Hub, over loopback, and folders like them."""

import base64
import contextlib
import json
import random
import re
import string
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from helpers import noise, tiny_network
from server import COMMIT, FAULTS

import inceptionzoo as iz
from inceptionzoo.weights._hub_config import read_config
from inceptionzoo.weights.download import open_repository
from inceptionzoo.weights.download._http import download as http_download
from inceptionzoo.weights.download._reference import parse_reference
from inceptionzoo.zoo._registry import REGISTRY

NAMES = ("a", "b", "c")
OTHER = "d" * 40


@pytest.fixture
def saved(tiny, tmp_path):
    """A folder that `save_pretrained` wrote."""
    iz.save_pretrained(
        tiny, tmp_path / "out", class_names=NAMES, metrics={"val_auc": 0.9}, license="mit", datasets=["ham10000"]
    )
    return tmp_path / "out"


@pytest.fixture
def repo(saved, host):
    """The same files as a repository of the Hub, "owner/tiny", with a tag "v1"."""
    host.put_repo("owner/tiny", {path.name: path.read_bytes() for path in saved.iterdir()}, "v1")
    return host


def same(model: iz.Net, other: iz.Net) -> bool:
    theirs = other.state_dict()
    return all(value.equal(theirs[key]) for key, value in model.state_dict().items())


def test_a_saved_folder_has_timms_layout_and_builds_the_model(saved, tiny, monkeypatch):
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((saved / "config.json").read_text())
    assert (config["architecture"], config["num_classes"], config["label_names"]) == ("izoo_tiny", 3, list(NAMES))
    assert config["pretrained_cfg"]["mean"] == list(tiny.data.mean)
    model = iz.create_model(f"local-dir:{saved}")
    assert same(model, tiny)
    assert model.class_names == NAMES
    assert iz.create_model(f"local-dir:{saved}", num_classes=2).num_classes == 2
    monkeypatch.setenv("HOME", str(saved.parent))
    report = iz.load_weights(iz.create_model("tiny"), f"local-dir:~/{saved.name}")
    assert report.layout == "inceptionzoo"
    card = (saved / "README.md").read_text()
    for text in (
        "license: mit",
        "datasets:\n- ham10000",
        "library_name: inceptionzoo",
        "- ham10000",
        "| val_auc | 0.9 |",
        "3 classes: a, b, c",
        "8x8 px",
    ):
        assert text in card
    assert safetensors.torch.load_file(saved / "model.safetensors").keys() == tiny.state_dict().keys()


def test_the_code_in_the_model_card_runs(saved, monkeypatch, capsys):
    from PIL import Image

    code = (saved / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(saved)
    Image.new("RGB", (9, 9)).save("image.jpg")
    exec(code.replace("hf-hub:OWNER/NAME", f"local-dir:{saved}"), {})
    assert "('" in capsys.readouterr().out


def test_a_repository_is_downloaded_once_and_works_offline(repo, tiny, monkeypatch, tmp_path):
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    assert [request[1].rpartition("/")[2] for request in repo.requests if request[0] == "GET"] == [
        "config.json",
        "model.safetensors",
    ]
    before = len(repo.requests)
    iz.create_model("hf-hub:owner/tiny")
    assert [request[0] for request in repo.requests[before:]] == ["HEAD"]  # asks for the newest commit of main
    before = len(repo.requests)
    iz.create_model(f"hf-hub:owner/tiny@{COMMIT}")
    assert len(repo.requests) == before  # a commit does not change
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    assert len(repo.requests) == before
    for missing in ("hf-hub:owner/other", "hf-hub:owner/tiny@v1", f"hf-hub:owner/tiny@{OTHER}"):
        with pytest.raises(iz.DownloadError, match="is not cached, and HF_HUB_OFFLINE is set; unset it to download"):
            iz.create_model(missing)
    assert not (tmp_path / "cache").exists()  # there is one cache of Hub files, huggingface_hub's


def test_the_cache_is_shared_with_huggingface_hub(repo, tiny):
    """Each finds what the other downloaded."""
    from huggingface_hub import constants, hf_hub_download, scan_cache_dir

    for name in ("config.json", "model.safetensors"):
        hf_hub_download("owner/tiny", name)
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    assert repo.count() == 2
    iz.create_model("hf-hub:owner/tiny@v1")
    (found,) = scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert (found.repo_id, found.nb_files) == ("owner/tiny", 2)
    assert {ref for revision in found.revisions for ref in revision.refs} == {"main", "v1"}
    assert not scan_cache_dir(constants.HF_HUB_CACHE).warnings


def test_huggingface_hub_reads_what_this_library_downloaded(repo):
    from huggingface_hub import constants, hf_hub_download, scan_cache_dir, try_to_load_from_cache

    iz.create_model("hf-hub:owner/tiny")
    requests = repo.count()
    for name in ("config.json", "model.safetensors"):
        path = hf_hub_download("owner/tiny", name)
        assert try_to_load_from_cache("owner/tiny", name) == path
        assert Path(path).read_bytes() == repo.files[f"/owner/tiny/resolve/main/{name}"]
    assert repo.count() == requests
    assert not scan_cache_dir(constants.HF_HUB_CACHE).warnings


def test_cache_dir_is_the_hubs_cache(repo, tiny, tmp_path):
    from huggingface_hub import try_to_load_from_cache

    assert same(iz.create_model("hf-hub:owner/tiny", cache_dir=tmp_path / "mine"), tiny)
    assert try_to_load_from_cache("owner/tiny", "model.safetensors", cache_dir=tmp_path / "mine")
    assert not (tmp_path / "hub").exists()


def test_a_file_system_without_links(repo, tiny, tmp_path, monkeypatch):
    """The file itself is in the snapshot; its checksum is asked for at each load."""

    def no_link(source: str, target: str) -> None:
        raise OSError("links are not supported")

    monkeypatch.setattr("os.symlink", no_link)
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    path = next((tmp_path / "hub").rglob("snapshots/*/model.safetensors"))
    assert not path.is_symlink()
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    assert repo.count() == 2
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.warns(UserWarning, match="damaged and downloaded again"):
        assert same(iz.create_model("hf-hub:owner/tiny"), tiny)


def test_both_files_are_of_one_commit(repo, tmp_path):
    iz.create_model("hf-hub:owner/tiny@v1")
    paths = {request[1] for request in repo.requests}
    assert "/owner/tiny/resolve/v1/config.json" in paths
    assert f"/owner/tiny/resolve/{COMMIT}/model.safetensors" in paths
    (record,) = (tmp_path / "hub").rglob("refs/*")
    assert (record.name, record.read_text()) == ("v1", COMMIT)


def test_a_damaged_record_of_the_last_commit_is_not_used(repo, tmp_path):
    iz.create_model("hf-hub:owner/tiny@v1")
    (record,) = (tmp_path / "hub").rglob("refs/*")
    record.write_text("../../evil")
    assert open_repository("hf-hub:owner/tiny@v1", newest=False).commit == COMMIT
    assert record.read_text() == COMMIT


def test_without_the_hub_the_last_known_commit_is_used_with_a_warning(repo, tiny):
    iz.create_model("hf-hub:owner/tiny")
    repo.always = "503"
    with pytest.warns(
        UserWarning, match=f"hf-hub:owner/tiny could not be downloaded: .*; its last known commit {COMMIT[:12]} is used"
    ):
        assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    repo.always = "404"
    with pytest.raises(iz.RefusedError, match="hf-hub:owner/tiny: 404 for config.json, there is no such file"):
        iz.create_model("hf-hub:owner/tiny")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "first byte", "cut", "empty"])
def test_a_damaged_cached_file_is_downloaded_again(repo, tiny, tmp_path, monkeypatch, name, damage):
    iz.create_model("hf-hub:owner/tiny")
    path = next((tmp_path / "hub").rglob(f"snapshots/*/{name}"))
    data = path.read_bytes()
    flip = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    damaged = {"flip": flip, "first byte": b"?" + data[1:], "cut": data[:-1], "empty": b""}[damage]
    path.write_bytes(damaged)
    with monkeypatch.context() as offline:
        offline.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(iz.DownloadError, match="HF_HUB_OFFLINE is set: unset it to download the file again"):
            iz.create_model("hf-hub:owner/tiny")
    with pytest.warns(UserWarning, match=rf"{name}.*; the cached file is damaged and downloaded again"):
        assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    assert path.read_bytes() == data


def test_a_file_that_is_wrong_at_the_hub_too_is_not_downloaded_again(repo):
    """Its checksum is right: the error is the publisher's, and another download would not help."""
    repo.put_repo("owner/tiny", {"config.json": b"{}"})
    for _ in range(2):
        with pytest.raises(iz.FileError, match="'architecture' is missing"):
            iz.create_model("hf-hub:owner/tiny")
    assert repo.count() == 1


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_any_request_is_retried(repo, tiny, fault, at):
    """The requests are HEAD for the commit, then HEAD and GET of each file."""
    repo.faults.extend([""] * at + [fault] * (6 if fault == "loop" and at in (2, 4) else 1))
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)


def test_a_repository_written_by_timm(host, tmp_path):
    peer = timm.create_model("vgg11_bn", num_classes=3, pretrained_cfg_overlay={"label_names": list(NAMES)}).eval()
    timm.models.save_for_hf(peer, tmp_path / "timm", model_config={"label_names": list(NAMES)}, safe_serialization=True)
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.1, 0.2, 0.3], "interpolation": "bicubic", "crop_pct": 0.9}
    host.put_repo("someone/vgg", {"config.json": json.dumps(config).encode()})
    host.put_repo("someone/vgg", {"model.safetensors": (tmp_path / "timm" / "model.safetensors").read_bytes()})
    model = iz.create_model("hf-hub:someone/vgg").eval()
    assert (model.entry.name, model.num_classes, model.class_names, model.report.layout) == ("vgg11_bn", 3, NAMES, "timm")
    assert (model.data.mean, model.data.interpolation, model.data.crop_pct) == ((0.1, 0.2, 0.3), "bicubic", 0.9)
    with torch.no_grad():
        torch.testing.assert_close(model(noise(1, 3, 224, 224)), peer(noise(1, 3, 224, 224)))


def test_a_repository_of_timm_is_no_file_of_this_library(tmp_path):
    timm.models.save_for_hf(timm.create_model("inception_v3", num_classes=2), tmp_path, safe_serialization=True)
    source = f"local-dir:{tmp_path}"
    with pytest.raises(iz.FileError, match=rf"does not say which model it holds; use create_model\('{re.escape(source)}'\)"):
        iz.load_model(source)


def test_a_folder_with_a_pickle_names_it(tmp_path):
    peer = timm.create_model("vgg11_bn", num_classes=2)
    timm.models.save_for_hf(peer, tmp_path)
    path = str(tmp_path / "pytorch_model.bin")
    with pytest.raises(iz.DownloadError, match=rf"model.safetensors is missing; .*create_model\(NAME, weights='{path}'\)"):
        iz.create_model(f"local-dir:{tmp_path}")
    assert iz.create_model("vgg11_bn", weights=path).num_classes == 2


def test_a_repository_with_a_file_alone(saved, tiny, host, tmp_path):
    """`load_model`, `load_weights` and `convert` need no config.json."""
    (saved / "config.json").unlink()
    host.put_repo("owner/file", {"model.safetensors": (saved / "model.safetensors").read_bytes()})
    for source in ("hf-hub:owner/file", f"local-dir:{saved}"):
        assert same(iz.load_model(source), tiny)
        assert iz.load_weights(iz.create_model("tiny"), source).layout == "inceptionzoo"
        iz.convert(source, tmp_path / "x.safetensors")
        with pytest.raises(iz.DownloadError, match=r"config\.json"):
            iz.create_model(source)


def test_the_error_for_another_librarys_model_names_the_repository(saved):
    for architecture in ("resnet50", "izoo_lost"):
        safetensors.torch.save_file({"a": torch.zeros(1)}, saved / "model.safetensors")
        (saved / "config.json").write_text(json.dumps({"architecture": architecture}))
        with pytest.raises(iz.UnknownModelError, match=f"local-dir:.*: unknown model '{architecture.removeprefix('izoo_')}'"):
            iz.create_model(f"local-dir:{saved}")


@pytest.mark.parametrize("call", [iz.model_info, iz.summary])
def test_a_repository_in_place_of_a_name(call):
    with pytest.raises(iz.UnknownModelError, match=r"it is a repository, not a name; create_model\('hf-hub:a/b'\) loads it"):
        call("hf-hub:a/b")


@pytest.mark.parametrize("hidden", [False, True])
def test_the_token_is_sent_unless_the_user_forbids_it(repo, monkeypatch, hidden):
    sent = []

    def download(url: str, path: Path, check: object, *, headers: dict[str, str], policy: object) -> None:
        sent.append({key.lower(): value for key, value in headers.items()}.get("authorization"))
        http_download(url, path, check, headers=headers, policy=policy)

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", hidden)
    monkeypatch.setattr("inceptionzoo.weights.download._hub.download", download)
    iz.create_model("hf-hub:owner/tiny")
    assert sent == [None if hidden else "Bearer hf_secret"] * 2


def test_the_number_of_classes_is_that_of_the_weights(host, tmp_path):
    """A config.json with a wrong num_classes does not drop the head."""
    peer = timm.create_model("inception_v3", num_classes=5)
    timm.models.save_for_hf(peer, tmp_path / "timm", safe_serialization=True)
    config = json.loads((tmp_path / "timm" / "config.json").read_text()) | {"num_classes": 7}
    (tmp_path / "timm" / "config.json").write_text(json.dumps(config))
    with pytest.warns(UserWarning, match="config.json says 7 classes, model.safetensors has 5, which is used"):
        model = iz.create_model(f"local-dir:{tmp_path / 'timm'}")
    assert model.head.fc.weight.equal(peer.fc.weight)


def test_another_number_of_class_names_is_left_out(tmp_path):
    """transformers writes the names of the classes that a model had before."""
    model = iz.create_model("googlenet_cifar", num_classes=3)
    config = {"architecture": "izoo_googlenet_cifar", "num_classes": 3, "label_names": ["benign", "malignant"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match=r"2 label_names for 3 classes, and they are left out; call model.set_class_names"):
        again = iz.create_model(f"local-dir:{tmp_path}")
    assert (again.num_classes, again.class_names) == (3, None)
    assert again.head.fc.weight.equal(model.head.fc.weight)


def test_names_by_index(tmp_path):
    """timm also writes label_names as {index: name}, in which an index may be missing."""
    config = {"architecture": "izoo_googlenet_cifar", "num_classes": 3, "label_names": {"2": "c", "0": "a"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(iz.create_model("googlenet_cifar", num_classes=3).state_dict(), tmp_path / "model.safetensors")
    assert iz.create_model(f"local-dir:{tmp_path}").class_names == ("a", "1", "c")
    (tmp_path / "config.json").write_text(json.dumps(config | {"label_names": {"3": "d"}}))
    with pytest.raises(iz.FileError, match="label_names must be a list of strings, or a mapping from 0 to 2"):
        iz.create_model(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("task", "classes", "names", "problem", "written"),
    [
        ("multiclass", 3, NAMES, None, list(NAMES)),
        ("multilabel", 3, NAMES, "multi_label_classification", list(NAMES)),
        ("regression", 2, ("x", "y"), "regression", ["x", "y"]),
        ("regression", 1, ("x",), "regression", ["x"]),
        ("binary", 1, ("benign", "malignant"), "multi_label_classification", ["malignant"]),
    ],
)
def test_the_task_is_in_the_config(tmp_path, task, classes, names, problem, written):
    """Its name is transformers', which keeps it, but not the header of the weights."""
    model = iz.create_model("googlenet_cifar", num_classes=classes)
    model.task = task
    iz.save_pretrained(model, tmp_path, class_names=names)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config.get("problem_type"), config["label_names"]) == (problem, written)
    assert iz.create_model(f"local-dir:{tmp_path}").class_names == names
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = iz.create_model(f"local-dir:{tmp_path}")
    assert (again.task, again.class_names) == (task, tuple(written))
    assert iz.create_model(f"local-dir:{tmp_path}", num_classes=4).task == "multiclass"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"std": [0, 0, 0]}, "std=.* must be"),
        ({"interpolation": "lanczos"}, "interpolation='lanczos'"),
        ({"crop_pct": 7}, "crop_pct=7"),
    ],
    ids=str,
)
def test_an_error_in_the_preprocessing_names_the_repository(tmp_path, values, text):
    timm.models.save_for_hf(timm.create_model("inception_v3", num_classes=2), tmp_path, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"] |= values
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(iz.FileError, match=f"local-dir:.*: config.json does not describe the preprocessing: .*{text}"):
        iz.create_model(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("options", "pipeline", "facts", "usage"),
    [
        ({}, "image-classification", "5 classes: a, b, c, d, e", 'iz.predict(model, "image.jpg")'),
        ({"num_classes": 0}, "image-feature-extraction", "parameters, features", "model(torch.zeros(1, 3, 8, 8))"),
        ({"in_chans": 2}, "image-classification", "5 classes", "model(torch.zeros(1, 2, 8, 8))"),
        ({"task": "regression"}, None, "5 outputs", 'iz.predict(model, "image.jpg")'),
        ({"spatial_dims": 1}, None, "signals of 8 px", "model(torch.zeros(1, 3, 8))"),
        ({"spatial_dims": 3}, "video-classification", "clips of 8x8x8 px", "model(torch.zeros(1, 3, 8, 8, 8))"),
    ],
    ids=str,
)
def test_the_card_fits_the_model(register, tmp_path, options, pipeline, facts, usage):
    dims = options.get("spatial_dims", 2)
    register("five", tiny_network(), num_classes=5, input_size=(3, 8, 8))
    model = iz.create_model("five", **{key: value for key, value in options.items() if key != "task"})
    model.task = options.get("task", model.task)
    names = list("abcde") if model.num_classes else None
    iz.save_pretrained(model, tmp_path / "out", class_names=names)
    card = (tmp_path / "out" / "README.md").read_text()
    assert (f"pipeline_tag: {pipeline}" in card) == ("pipeline_tag" in card) == (pipeline is not None)
    assert facts in card
    code = re.search("```python\n(.*?)```", card, re.DOTALL)[1].replace(
        '"hf-hub:OWNER/NAME"', repr(f"local-dir:{tmp_path / 'out'}")
    )
    assert usage in code
    code = code.replace('"image.jpg"', "__import__('numpy').zeros((9, 9), 'uint8')")
    exec(code, {})
    assert model.network.spatial_dims == dims


def test_any_name_keeps_the_layout_of_the_card(tiny, tmp_path):
    iz.save_pretrained(tiny, tmp_path, class_names=["one\nline", "two", "thr\udce9e"], metrics={"recall | mole\n": 0.5})
    card = (tmp_path / "README.md").read_text()
    assert "3 classes: one line, two, thr?e\n" in card
    assert "| recall \\| mole | 0.5 |\n" in card


def test_long_and_nested_arguments_come_back(tmp_path):
    def network(widths: tuple[tuple[int, ...], ...] = ((4,), (8,))) -> iz.Network:
        return iz.network(**{f"conv{index}": iz.Conv(width, 1) for index, (width,) in enumerate(widths)})

    iz.register_model("lists", network, num_classes=3)
    try:
        model = iz.create_model("lists", widths=tuple((2,) for _ in range(20)))
        iz.save_pretrained(model, tmp_path / "out")
        again = iz.create_model(f"local-dir:{tmp_path / 'out'}")
        assert again.arguments == model.arguments
        assert same(again, model)
    finally:
        del REGISTRY["lists"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"architecture": None}, "'architecture' is missing"),
        ({"architecture": 3}, "architecture='3' must be a str"),
        ({"architecture": "x" * 2000}, "architecture has 2000 characters"),
        ({"num_classes": -1}, "num_classes=-1"),
        ({"num_classes": 10**9}, "num_classes=1000000000"),
        ({"num_classes": True}, "num_classes='True' must be a int"),
        ({"global_pool": "median"}, "global_pool='median'"),
        ({"label_names": {"a": 1}}, "label_names must be a list of strings"),
        ({"model_args": {"five": {"a": 1}}}, "model_args: five="),
        ({"model_args": {"five": [[[[1]]]]}}, "model_args: five="),
        ({"pretrained_cfg": {"input_size": [3]}}, "input_size=[3] must be 2 or 3 or 4 numbers"),
        ({"pretrained_cfg": {"input_size": [3, 8, 10**12]}}, "must be 2 or 3 or 4 numbers of at most"),
        ({"pretrained_cfg": {"mean": ["0", 0, 0]}}, "mean=['0', 0, 0] must be 3 numbers"),
        ({"pretrained_cfg": {"std": float("nan")}}, "std='nan' must be a list"),
    ],
    ids=str,
)
def test_a_config_with_a_bad_value_is_refused(saved, change, text):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(iz.FileError) as error:
        read_config(path)
    assert text in str(error.value)
    assert str(path) in str(error.value)
    with pytest.raises(iz.FileError):
        iz.create_model(f"local-dir:{saved}")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "3", '{"architecture": "izoo_tiny"'], ids=lambda text: text[:9])
def test_a_file_that_is_no_config_is_refused(saved, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(iz.FileError, match=r"config\.json does not describe a model"):
        iz.create_model(f"local-dir:{saved}")
    (saved / "config.json").write_text(" " * (5 << 20))
    with pytest.raises(iz.FileError, match=r"has 5,242,880 bytes; a config\.json may have at most 4,194,304"):
        iz.create_model(f"local-dir:{saved}")


def test_config_and_weights_must_agree(saved, tiny, register):
    register("other", tiny.network, num_classes=3)
    config = json.loads((saved / "config.json").read_text()) | {"architecture": "izoo_other"}
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(iz.FileError, match=r"config\.json says 'other', model\.safetensors 'tiny'; save it again"):
        iz.create_model(f"local-dir:{saved}")
    (saved / "config.json").write_text(json.dumps(config | {"architecture": "izoo_tinny"}))
    with pytest.raises(iz.FileError, match=r"config\.json says 'tinny', model\.safetensors 'tiny'; save it again"):
        iz.create_model(f"local-dir:{saved}")
    (saved / "config.json").unlink()
    with pytest.raises(iz.DownloadError, match=r"config\.json is missing; save_pretrained writes such a folder"):
        iz.create_model(f"local-dir:{saved}")


HOSTILE = (
    "../x",
    "a/../b",
    "a/b@../../x",
    "/etc/passwd",
    "a//b",
    "a/b/c",
    "a/b@",
    ".a/b",
    "a/.b",
    "a/b@-\0",
    "a\n/b",
    "",
    "a/b@x y",
    "é/a",
    "a/b@/etc/passwd",
    "a/b@x//y",
    "a/b@./x",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_references_are_refused(host, text):
    with pytest.raises(iz.ArgumentError, match="must be hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION"):
        iz.create_model(f"hf-hub:{text}")
    assert host.requests == []


def test_nothing_is_written_outside_the_cache(host, tmp_path, monkeypatch):
    """Random names and revisions, and hostile commits from the host."""
    pick, letters = random.Random(0), string.ascii_letters + "./-_@%\\~ \0é"
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    for _ in range(300):
        with contextlib.suppress(iz.ZooError):
            open_repository("hf-hub:" + "".join(pick.choices(letters, k=pick.randrange(1, 12))))
    written = set(tmp_path.rglob("*")) - before
    assert {path.relative_to(tmp_path).parts[:2] for path in written} <= {("hub",)}
    for commit in ("../../evil", "x" * 40, "", "A" * 40, COMMIT + "/.."):
        monkeypatch.setattr("server.COMMIT", commit)
        host.put_repo("o/n", {"config.json": b"{}", "model.safetensors": b""})
        with pytest.raises(iz.DownloadError, match="the server sent no commit or no checksum"):
            open_repository("hf-hub:o/n")


def test_references_are_parsed():
    assert str(parse_reference("hf-hub:owner/name")) == "hf-hub:owner/name"
    reference = parse_reference("hf-hub:owner/na.me-1@refs/pr/3")
    assert (reference.repo, reference.revision) == ("owner/na.me-1", "refs/pr/3")


@pytest.fixture
def pushed(host, monkeypatch):
    """Let the host take uploads to "owner/new" as the Hub does; return the bodies of the requests by path."""
    taken = {}

    def do_post(handler: object) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        taken[handler.path] = body
        answers = {
            "/api/repos/create": {"url": f"{host.url}/owner/new"},
            "/api/validate-yaml": {"errors": [], "warnings": []},
            "/api/models/owner/new/preupload/main": {
                "files": [
                    {"path": name, "uploadMode": "regular", "shouldIgnore": False}
                    for name in ("README.md", "config.json", "model.safetensors")
                ]
            },
            "/api/models/owner/new/commit/main": {"commitUrl": f"{host.url}/owner/new/commit/{COMMIT}", "commitOid": COMMIT},
        }
        answer = json.dumps(answers[handler.path]).encode()
        handler.reply(200, answer, {"Content-Length": str(len(answer)), "Content-Type": "application/json"})

    kinds = host.server.RequestHandlerClass
    monkeypatch.setattr(kinds, "do_POST", do_post, raising=False)
    pages = ("", "/revision/main", "/revision/main?expand=xetEnabled")  # the last is huggingface_hub 0.30's
    for path in (f"/api/models/owner/new{page}" for page in pages):
        host.put(path, json.dumps({"id": "owner/new", "sha": COMMIT, "siblings": [], "private": False}).encode())
    return taken


def uploaded(pushed: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of the last upload."""
    lines = [json.loads(line)["value"] for line in pushed["/api/models/owner/new/commit/main"].splitlines()]
    return {value["path"]: base64.b64decode(value["content"]) for value in lines[1:]}


@pytest.mark.parametrize("repo_id", ["owner/new", "new"])
def test_push_to_hub(tiny, host, pushed, repo_id):
    url = iz.push_to_hub(tiny, repo_id, token="hf_x", class_names=NAMES, metrics={"auc": 0.9}, commit_message="First")
    assert url == f"{host.url}/owner/new/commit/{COMMIT}"
    assert json.loads(pushed["/api/models/owner/new/commit/main"].splitlines()[0])["value"]["summary"] == "First"
    files = uploaded(pushed)
    host.put_repo("owner/new", files)
    assert 'iz.create_model("hf-hub:owner/new")' in files["README.md"].decode()
    model = iz.create_model("hf-hub:owner/new")
    assert same(model, tiny)
    assert model.class_names == NAMES
    assert json.loads(pushed["/api/repos/create"]).get("private") is None  # the default of the owner
    pushed.clear()
    with pytest.raises(iz.ArgumentError, match="private=True: 'owner/new' exists and is public; make it private"):
        iz.push_to_hub(tiny, repo_id, token="hf_x", private=True)
    assert list(pushed) == ["/api/repos/create"]


def test_an_edited_model_card_is_kept(tiny, host, pushed, tmp_path):
    iz.save_pretrained(tiny, tmp_path)
    iz.save_pretrained(tiny, tmp_path, description="Second.")
    card = (tmp_path / "README.md").read_text()
    assert "Second." in card
    iz.push_to_hub(tiny, "owner/new", token="hf_x")
    host.put_repo("owner/new", uploaded(pushed))
    iz.push_to_hub(tiny, "owner/new", token="hf_x", description="Second.")
    assert b"Second." in uploaded(pushed)["README.md"]
    for text in (card.replace("Second.", "My own words."), f"{card}My own words.", "My own words.\n"):
        (tmp_path / "README.md").write_text(text)
        with pytest.warns(UserWarning, match=r"README\.md was edited or is of another program, and is kept") as warned:
            iz.save_pretrained(tiny, tmp_path, description="Third.")
        assert (tmp_path / "README.md").read_text() == text
        host.put_repo("owner/new", {"README.md": text.encode()})
        with pytest.warns(
            UserWarning, match=r"owner/new: README\.md was edited .* delete it there to get a new one"
        ) as warned_too:
            iz.push_to_hub(tiny, "owner/new", token="hf_x", description="Third.")
        assert uploaded(pushed).keys() == {"config.json", "model.safetensors"}
        assert [warning.filename for warning in (*warned, *warned_too)] == [__file__] * 2


def test_push_to_hub_refuses(tiny, host):
    with pytest.raises(iz.ArgumentError, match="repo_id='a/b/c': "):
        iz.push_to_hub(tiny, "a/b/c")
    with pytest.raises(iz.ArgumentError, match="license=3 must be a string"):
        iz.push_to_hub(tiny, "a/b", license=3)
    with pytest.raises(iz.ArgumentError, match="datasets='ham' must be a list of names"):
        iz.save_pretrained(tiny, "nowhere", datasets="ham")
    with pytest.raises(iz.DownloadError, match="a/b was not uploaded: .*; check its name and HF_TOKEN"):
        iz.push_to_hub(tiny, "a/b", token="hf_x")
    assert not Path("nowhere").exists()
