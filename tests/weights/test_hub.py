"""Repositories of the Hugging Face Hub, over loopback, and folders like them."""

import base64
import contextlib
import json
import random
import string
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from helpers import noise
from server import COMMIT, FAULTS

import inceptionzoo as iz
from inceptionzoo.weights._hub_config import read_config
from inceptionzoo.weights.download._hub import parse_reference, resolve_folder

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
    """The same as a repository of the Hub, "owner/tiny", with a tag "v1"."""
    host.put_repo("owner/tiny", {path.name: path.read_bytes() for path in saved.iterdir()}, "v1")
    return host


def same(model: iz.Net, other: iz.Net) -> bool:
    theirs = other.state_dict()
    return all(value.equal(theirs[key]) for key, value in model.state_dict().items())


def test_a_folder_is_timms_layout_and_builds_the_model(saved, tiny):
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((saved / "config.json").read_text())
    assert (config["architecture"], config["num_classes"], config["label_names"]) == ("izoo_tiny", 3, list(NAMES))
    assert config["pretrained_cfg"]["mean"] == list(tiny.data.mean)
    model = iz.create_model(f"local-dir:{saved}")
    assert same(model, tiny)
    assert model.class_names == NAMES
    assert iz.create_model(f"local-dir:{saved}", num_classes=2).num_classes == 2
    report = iz.load_weights(iz.create_model("tiny"), f"local-dir:{saved}")
    assert report.layout == "inceptionzoo"
    card = (saved / "README.md").read_text()
    for text in (
        "license: mit",
        "library_name: inceptionzoo",
        "- ham10000",
        "| val_auc | 0.9 |",
        "3 classes: a, b, c",
        "8x8 px",
    ):
        assert text in card
    assert safetensors.torch.load_file(saved / "model.safetensors").keys() == tiny.state_dict().keys()


def test_the_cards_snippet_runs(saved, monkeypatch, capsys):
    from PIL import Image

    code = (saved / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(saved)
    Image.new("RGB", (9, 9)).save("image.jpg")
    exec(code.replace("hf-hub:OWNER/NAME", f"local-dir:{saved}"), {})
    assert "('" in capsys.readouterr().out


def test_a_repository_is_fetched_once_and_serves_offline(repo, tiny, monkeypatch, tmp_path):
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    assert [request[1].rpartition("/")[2] for request in repo.requests if request[0] == "GET"] == [
        "config.json",
        "model.safetensors",
    ]
    before = len(repo.requests)
    iz.create_model("hf-hub:owner/tiny")
    assert [request[0] for request in repo.requests[before:]] == ["HEAD"]  # is main still that commit?
    before = len(repo.requests)
    iz.create_model(f"hf-hub:owner/tiny@{COMMIT}")
    assert len(repo.requests) == before  # a commit stays what it is
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    assert len(repo.requests) == before
    for missing in ("hf-hub:owner/other", "hf-hub:owner/tiny@v1", f"hf-hub:owner/tiny@{OTHER}"):
        with pytest.raises(iz.DownloadError, match="HF_HUB_OFFLINE is set"):
            iz.create_model(missing)
    assert {path.name for path in (tmp_path / "cache" / "hub" / "owner").iterdir()} <= {"tiny", "other"}


def test_revisions_do_not_mix(repo, tiny, saved, tmp_path):
    iz.create_model("hf-hub:owner/tiny@v1")
    asked = {request[1] for request in repo.requests}
    assert f"/owner/tiny/resolve/v1/{'config.json'}" in asked
    assert f"/owner/tiny/resolve/{COMMIT}/model.safetensors" in asked
    refs = list((tmp_path / "cache").rglob("refs/*"))
    assert len(refs) == 1
    assert refs[0].read_text() == COMMIT


def test_a_hub_that_is_away_leaves_the_last_known_commit_with_a_warning(repo, tiny):
    iz.create_model("hf-hub:owner/tiny")
    repo.always = "503"
    with pytest.warns(
        UserWarning, match=f"hf-hub:owner/tiny could not be fetched: .*; its last known commit {COMMIT[:12]} is used"
    ):
        assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    repo.always = "404"
    with pytest.raises(iz.RefusedError, match="hf-hub:owner/tiny: 404 for config.json, there is no such file"):
        iz.create_model("hf-hub:owner/tiny")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "seal"])
def test_a_damaged_cache_is_fetched_again(repo, tiny, tmp_path, name, damage):
    iz.create_model("hf-hub:owner/tiny")
    path = next((tmp_path / "cache").rglob(name))
    data = path.read_bytes()
    damaged = {"flip": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "cut": data[:-1], "empty": b"", "seal": data}[damage]
    path.write_bytes(damaged)
    if damage == "seal":
        path.with_name(f"{name}.sha256").unlink()
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)
    assert path.read_bytes() == data


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_any_request_is_outlived(repo, tiny, fault, at):
    """The requests are HEAD for the commit, then HEAD and GET of either file."""
    repo.faults.extend([""] * at + [fault] * (6 if fault == "loop" and at in (2, 4) else 1))
    assert same(iz.create_model("hf-hub:owner/tiny"), tiny)


def test_a_repository_that_timm_wrote(host, tmp_path):
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


def test_the_head_is_judged_by_the_file(host, tmp_path):
    """A config.json that is wrong about num_classes drops no head."""
    peer = timm.create_model("inception_v3", num_classes=5)
    timm.models.save_for_hf(peer, tmp_path / "timm", safe_serialization=True)
    config = json.loads((tmp_path / "timm" / "config.json").read_text()) | {"num_classes": 7}
    (tmp_path / "timm" / "config.json").write_text(json.dumps(config))
    with pytest.warns(UserWarning, match="config.json says 7 classes, model.safetensors has 5, which counts"):
        model = iz.create_model(f"local-dir:{tmp_path / 'timm'}")
    assert model.head.fc.weight.equal(peer.fc.weight)


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
        ({"label_names": ["a"]}, "1 label_names do not fit num_classes=3"),
        ({"label_names": {"a": 1}}, "label_names must be a list of strings"),
        ({"model_args": {"five": {"a": 1}}}, "model_args: five="),
        ({"model_args": {"five": [1] * 99}}, "model_args: five="),
        ({"pretrained_cfg": {"input_size": [3, 8]}}, "input_size=[3, 8] must be 3 numbers"),
        ({"pretrained_cfg": {"input_size": [3, 8, 10**12]}}, "must be 3 numbers of at most"),
        ({"pretrained_cfg": {"mean": ["0", 0, 0]}}, "mean=['0', 0, 0] must be 3 numbers"),
        ({"pretrained_cfg": {"std": float("nan")}}, "std='nan' must be a list"),
    ],
    ids=str,
)
def test_a_config_is_read_against_a_list(saved, change, text):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(iz.FileError) as error:
        read_config(path)
    assert text in str(error.value)
    assert str(path) in str(error.value)
    with pytest.raises(iz.FileError):
        iz.create_model(f"local-dir:{saved}")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "3", '{"architecture": "izoo_tiny"'], ids=lambda text: text[:9])
def test_what_is_no_config_says_so(saved, text):
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
    with pytest.raises(iz.UnknownModelError, match="unknown model 'tinny'; did you mean 'tiny'?"):
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
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_references_are_refused(host, text):
    with pytest.raises(iz.ArgumentError, match="must be hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION"):
        iz.create_model(f"hf-hub:{text}")
    assert host.requests == []


def test_nothing_is_written_outside_the_cache(host, tmp_path, monkeypatch):
    """Generated names and revisions, and commits and checksums as a hostile host might send them."""
    pick, letters = random.Random(0), string.ascii_letters + "./-_@%\\~ \0é"
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    for _ in range(300):
        with contextlib.suppress(iz.ZooError):
            resolve_folder("hf-hub:" + "".join(pick.choices(letters, k=pick.randrange(1, 12))))
    written = set(tmp_path.rglob("*")) - before
    assert {path.relative_to(tmp_path).parts[:2] for path in written} <= {("cache",), ("cache", "hub")}
    for commit in ("../../evil", "x" * 40, "", "A" * 40, COMMIT + "/.."):
        monkeypatch.setattr("server.COMMIT", commit)
        host.put_repo("o/n", {"config.json": b"{}", "model.safetensors": b""})
        with pytest.raises(iz.DownloadError, match="the server names no commit or checksum"):
            resolve_folder("hf-hub:o/n")


def test_references_are_parsed():
    assert str(parse_reference("hf-hub:owner/name")) == "hf-hub:owner/name"
    reference = parse_reference("hf-hub:owner/na.me-1@refs/pr/3")
    assert (reference.repo, reference.revision) == ("owner/na.me-1", "refs/pr/3")


def test_push_to_hub(tiny, host, monkeypatch):
    """Against a host that answers as the Hub does: make the repository, agree on how files come, take a commit."""
    taken, kept = {}, {}

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
    url = iz.push_to_hub(tiny, "owner/new", token="hf_x", class_names=NAMES, metrics={"auc": 0.9}, commit_message="First")
    assert url == f"{host.url}/owner/new/commit/{COMMIT}"
    lines = [json.loads(line) for line in taken["/api/models/owner/new/commit/main"].splitlines()]
    assert lines[0]["value"]["summary"] == "First"
    for line in lines[1:]:
        kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
    host.put_repo("owner/new", kept)
    assert 'iz.create_model("hf-hub:owner/new")' in kept["README.md"].decode()
    model = iz.create_model("hf-hub:owner/new")
    assert same(model, tiny)
    assert model.class_names == NAMES


def test_push_refuses_in_words(tiny, host):
    with pytest.raises(iz.ArgumentError, match="repo_id='a/b/c': "):
        iz.push_to_hub(tiny, "a/b/c")
    with pytest.raises(iz.ArgumentError, match="license=3 must be a string"):
        iz.push_to_hub(tiny, "a/b", license=3)
    with pytest.raises(iz.ArgumentError, match="datasets='ham' must be a list of names"):
        iz.save_pretrained(tiny, "nowhere", datasets="ham")
    with pytest.raises(iz.DownloadError, match="a/b was not uploaded: .*; check its name and HF_TOKEN"):
        iz.push_to_hub(tiny, "a/b", token="hf_x")
    assert not Path("nowhere").exists()
