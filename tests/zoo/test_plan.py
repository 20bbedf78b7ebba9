"""Loading a model builds the network once, reads each file once, and writes no file."""

import io
import sys
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from server import HOST

import inceptionzoo as iz
from inceptionzoo.nn import build_network
from inceptionzoo.zoo._registry import REGISTRY

RECORDERS: list[SimpleNamespace] = []


def record_open(event: str, arguments: tuple[object, ...]) -> None:
    """Record the path of each opened file. Python calls this audit hook whenever a file is opened."""
    if event != "open" or not RECORDERS or not isinstance(arguments[0], str):
        return
    if arguments[0].startswith(RECORDERS[0].folder) and Path(arguments[0]).is_file():
        writes = bool(int(arguments[2]) & 3)  # O_WRONLY or O_RDWR
        (RECORDERS[0].written if writes else RECORDERS[0].read)[Path(arguments[0]).resolve()] += 1


sys.addaudithook(record_open)


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Counts, since `start()`, of network builds and of files opened in the test's folder."""
    counts = SimpleNamespace(folder=str(tmp_path), builds=0, read=Counter(), written=Counter())

    def build(*arguments: object, **keywords: object) -> iz.Net:
        counts.builds += 1
        return build_network(*arguments, **keywords)

    def start() -> None:
        counts.builds = 0
        RECORDERS.append(counts)

    for name, module in list(sys.modules.items()):
        if name.startswith("inceptionzoo.") and getattr(module, "build_network", None) is build_network:
            monkeypatch.setattr(module, "build_network", build)
    counts.start = start
    yield counts
    RECORDERS.clear()


def check(record: SimpleNamespace, *names: str) -> None:
    """Check that the network was built once, and that each of these files was read once and no other file."""
    RECORDERS.clear()
    assert record.builds == 1
    assert record.written == Counter()
    refs = {path for path in record.read if path.parent.name == "refs"}  # the Hub's record of the newest commit
    assert [record.read[path] for path in refs] == [1] * len(refs)
    assert sorted(record.read[path] for path in record.read.keys() - refs) == [1] * len(names)
    assert {path.name for path in record.read.keys() - refs} == set(names)


def test_published_weights_from_a_url(tiny, host, record):
    stream = io.BytesIO()
    torch.save(tiny.state_dict(), stream)
    digits = sha256(stream.getvalue()).hexdigest()
    row = iz.Published(
        url="https://example.org/tiny.pth",
        digest=f"sha256:{digits}",
        license="mit",
        layout="own",
        data=iz.DataConfig(input_size=(3, 8, 8)),
        num_classes=3,
    )
    REGISTRY["tiny"] = replace(REGISTRY["tiny"], layouts=(iz.Layout("own", ()),), weights={"first": row})
    HOST.put("/tiny.pth", stream.getvalue())
    iz.create_model("tiny", pretrained=True)
    record.start()
    model = iz.create_model("tiny", pretrained=True, num_classes=2)
    check(record, "tiny.pth")
    assert model.num_classes == 2
    assert host.count() == 1


def test_published_weights_from_the_hub(tiny, host, record):
    row = iz.Published(
        url="hf-hub:owner/rows", license="mit", layout="own", data=iz.DataConfig(input_size=(3, 8, 8)), num_classes=3
    )
    REGISTRY["tiny"] = replace(REGISTRY["tiny"], layouts=(iz.Layout("own", ()),), weights={"first": row})
    data = safetensors.torch.save({key: value.contiguous() for key, value in tiny.state_dict().items()})
    HOST.put_repo("owner/rows", {"model.safetensors": data})
    iz.create_model("tiny", pretrained=True)
    record.start()
    iz.create_model("tiny", pretrained=True, num_classes=2)
    check(record, sha256(data).hexdigest())


def test_a_repository(tiny, host, record, tmp_path):
    iz.save_pretrained(tiny, tmp_path / "out")
    HOST.put_repo("owner/tiny", {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    iz.create_model("hf-hub:owner/tiny")
    record.start()
    iz.create_model("hf-hub:owner/tiny", num_classes=2)
    check(record, *(path.name for path in (tmp_path / "hub").rglob("blobs/*")))


@pytest.mark.parametrize("arguments", [{}, {"num_classes": 2}, {"in_chans": 1}, {"global_pool": "catavgmax"}], ids=str)
def test_a_file_of_this_library(tiny, record, tmp_path, arguments):
    iz.save_weights(tiny, tmp_path / "ours.safetensors")
    record.start()
    iz.create_model("tiny", weights=tmp_path / "ours.safetensors", **arguments)
    check(record, "ours.safetensors")


@pytest.mark.parametrize("arguments", [{}, {"num_classes": 2}, {"in_chans": 1}], ids=str)
def test_a_file_of_another_layout(record, tmp_path, arguments):
    cifar = iz.create_model("googlenet_cifar", num_classes=3)
    iz.export_weights(cifar, tmp_path / "theirs.pth", layout="pytorch-cifar")
    record.start()
    model = iz.create_model("googlenet_cifar", weights=tmp_path / "theirs.pth", **arguments)
    check(record, "theirs.pth")
    assert model.report.layout == "pytorch-cifar"
    assert model.num_classes == arguments.get("num_classes", 3)


def test_load_model(tiny, record, tmp_path):
    iz.save_weights(iz.with_aux(tiny), tmp_path / "ours.safetensors")
    record.start()
    assert iz.load_model(tmp_path / "ours.safetensors").aux
    check(record, "ours.safetensors")
