"""Training in several processes: equal to one process, with faults, and resumed after being killed."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
import trainings
from torch.utils.data import DataLoader, TensorDataset
from trainings import BATCH, EPOCHS, IMAGES, launch, outcome

import inceptionzoo as iz
from inceptionzoo.weights._safetensors import MARKER, read_safetensors
from inceptionzoo.zoo._registry import REGISTRY


def compare(out: Path, kind: str, options: dict[str, object]) -> None:
    """Train without batch normalisation and dropout, so that a sharded batch gives the gradient of the full batch."""
    targets = torch.arange(IMAGES) % 3
    images = torch.randn(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + targets[:, None, None, None]
    network = iz.network(trainings.NETWORK, style=iz.Style(norm=None, bias=True))
    iz.register_model("tiny", network, num_classes=3, input_size=(3, 8, 8))
    torch.manual_seed(3 + 10 * int(os.environ.get("RANK", "0")))  # rank 0 broadcasts its weights
    model = iz.create_model("tiny")
    train: object = list(zip(images.split(BATCH), targets.split(BATCH), strict=True))
    if kind != "list":
        workers = {"num_workers": 2, "persistent_workers": True} if kind == "workers" else {}
        train = DataLoader(TensorDataset(images, targets), BATCH, shuffle=True, **workers)
    val = DataLoader(TensorDataset(images, targets), 8)
    weights = torch.tensor([1.0, 2.0, 3.0])
    history = iz.fit(model, train, val, epochs=3, lr=0.05, class_weights=weights, seed=4, **options)
    result = iz.evaluate(model, val)
    vector = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    outcome = {"rows": history.epochs, "weights": vector.tolist(), "loss": result.loss}
    (out / f"rank{os.environ.get('RANK', '')}.json").write_text(json.dumps(outcome))


@pytest.mark.parametrize(
    ("world", "kind", "options"),
    [
        (2, "loader", {"accumulate": 2, "clip_grad_norm": 0.3}),
        (3, "list", {"ema": 0.5}),  # the last batch has one image for three ranks
        (2, "list", {"precision": "bf16", "checkpoint": True}),
        (3, "workers", {"freeze_epochs": 1}),
    ],
    ids=str,
)
def test_several_ranks_train_like_one_process(tmp_path, world, kind, options):
    assert launch(compare, tmp_path, kind, options) == [0]
    assert launch(compare, tmp_path, kind, options, world=world) == [0] * world
    single = json.loads((tmp_path / "rank.json").read_text())
    tolerance = 2e-2 if "precision" in options else 1e-5
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(world)]
    for rank in ranks:
        assert rank["weights"] == ranks[0]["weights"]
        assert rank["weights"] == pytest.approx(single["weights"], rel=tolerance, abs=tolerance)
        assert rank["loss"] == pytest.approx(single["loss"], rel=tolerance)
        for row, other in zip(rank["rows"], single["rows"], strict=True):
            for key in row.keys() - {"seconds"} if "precision" not in options else {"loss"}:
                assert row[key] == pytest.approx(other[key], rel=tolerance, abs=1e-6), key


class Scaled(torch.nn.Module):
    """A cross entropy with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits * self.scale, targets)


LABELS = torch.randn(IMAGES, 3, generator=torch.Generator().manual_seed(7))
TASKS = {  # the targets and the loss
    "binary": (LABELS[:, 0] > 0, torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))),
    "multilabel": ((LABELS > 0).float(), None),
    "regression": (LABELS, torch.nn.HuberLoss()),
    "multiclass": (LABELS.softmax(1), None),  # soft labels
    "weighted": (LABELS.argmax(1), torch.nn.CrossEntropyLoss(torch.tensor([1.0, 5.0, 2.0]))),
    "learned": (LABELS.argmax(1), Scaled()),
    "ignored": (LABELS.argmax(1).masked_fill(LABELS[:, 0] > 1, -100), torch.nn.CrossEntropyLoss()),
}


def train_a_task(out: Path, kind: str) -> None:
    """Train with batches of four and a last one of one image, and validate on two batches, of which one has one image."""
    targets, loss = TASKS[kind]
    images = torch.randn(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    network = iz.network(trainings.NETWORK, style=iz.Style(norm=None, bias=True))
    iz.register_model("tiny", network, num_classes=1 if kind == "binary" else 3, input_size=(3, 8, 8))
    torch.manual_seed(3)
    model = iz.create_model("tiny")
    train = DataLoader(TensorDataset(images, targets), BATCH, shuffle=True)
    val = [(images[:8], targets[:8]), (images[-1:], targets[-1:])]
    task = kind if loss is None else None
    parameters = [*model.parameters(), *(loss.parameters() if loss else ())]
    optimizer = torch.optim.SGD(parameters, lr=0.05)
    history = iz.fit(model, train, val, epochs=2, optimizer=optimizer, loss=loss, task=task, accumulate=2, seed=4)
    vector = torch.cat([parameter.detach().flatten() for parameter in parameters])
    outcome = {"task": model.task, "rows": history.epochs, "weights": vector.tolist()}
    (out / f"rank{os.environ.get('RANK', '')}.json").write_text(json.dumps(outcome))


@pytest.mark.parametrize("kind", TASKS)
def test_every_task_on_several_ranks(tmp_path, kind):
    world = 3 if kind in ("multilabel", "weighted") else 2  # with three, the images of a batch of one are those of one rank
    assert launch(train_a_task, tmp_path, kind) == [0]
    assert launch(train_a_task, tmp_path, kind, world=world) == [0] * world
    single, *ranks = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in ("", *range(world)))
    assert single["task"] == (kind if kind in ("binary", "multilabel", "regression") else "multiclass")
    assert math.isfinite(single["rows"][-1]["val_loss"])
    for rank in ranks:
        assert rank["task"] == single["task"]
        assert rank["weights"] == ranks[0]["weights"]
        assert rank["weights"] == pytest.approx(single["weights"], rel=1e-5, abs=1e-5)
        for row, other in zip(rank["rows"], single["rows"], strict=True):
            assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-5, abs=1e-6, nan_ok=True)


FAULTS = [(fault, rank) for fault in ("kill", "raise", "hang", "early exit", "nan") for rank in (0, 1)]
EVERY_CHANGE = {("kill", 0), ("hang", 1), ("nan", 1)}


@pytest.mark.parametrize(
    ("fault", "rank"), [pytest.param(*case, marks=() if case in EVERY_CHANGE else pytest.mark.full) for case in FAULTS]
)
def test_a_fault_of_one_rank_ends_all(tmp_path, fault, rank):
    codes = launch(trainings.train_with_a_fault, tmp_path, fault, rank, world=2)
    other = codes[1 - rank]
    assert other not in (0, None), codes  # it ends by itself, before the test kills it
    assert codes[rank] != 0 or fault == "early exit", codes
    assert (codes[rank] is None) == (fault == "hang"), codes
    assert not (tmp_path / "done.pt").exists()
    tensors, metadata = read_safetensors(tmp_path / "last.safetensors")
    assert len(json.loads(metadata[MARKER])["rows"]) == 2
    iz.register_model("tiny", iz.network(trainings.NETWORK), num_classes=2, input_size=(3, 8, 8))
    try:
        best = iz.load_model(tmp_path / "best.safetensors")
    finally:
        del REGISTRY["tiny"]
    assert all(value.isfinite().all() for value in (*tensors.values(), *best.state_dict().values()))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The outcomes of uninterrupted trainings, by the number of ranks."""
    outcomes = {}
    for world in (1, 2):
        out = tmp_path_factory.mktemp(f"uninterrupted{world}")
        assert launch(trainings.train, out, world=world) == [0] * world
        outcomes[world] = outcome(out)
    return outcomes


def kills() -> list[object]:
    """Return 200 cases (number of ranks, image at which to kill, rank to kill): half with one rank, half with two."""
    draw, cases = random.Random(0), []
    for index in range(200):
        world = 1 + index % 2
        case = (world, draw.randrange(1, EPOCHS * IMAGES // world), draw.randrange(world))
        cases.append(pytest.param(*case, id=f"{index}-{case}", marks=() if index < 6 else pytest.mark.full))
    return cases


@pytest.mark.parametrize(("world", "step", "rank"), kills())
def test_a_killed_training_resumes_to_the_same_outcome(uninterrupted, tmp_path, world, step, rank):
    codes = launch(trainings.train_and_be_killed, tmp_path, step, rank, world=world)
    assert codes[rank] == -9
    assert 0 not in codes
    launch(trainings.train_and_be_killed, tmp_path, step // 2 + 1, world - 1 - rank, world=world)  # and again, at another image
    assert launch(trainings.train, tmp_path, world=world) == [0] * world
    assert outcome(tmp_path) == uninterrupted[world]


def tiny() -> iz.Net:
    side = iz.Aux("conv1", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2))
    if not iz.is_model("tiny"):
        iz.register_model("tiny", iz.network(trainings.NETWORK, aux=(side,)), num_classes=2, input_size=(3, 8, 8))
    return iz.create_model("tiny")


def noise(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(size, 3, 8, 8, generator=torch.Generator().manual_seed(size)), torch.arange(size) % 2


def unequal(out: Path, change: str) -> None:
    """Call fit differently on rank 1."""
    other = os.environ["RANK"] == "1"
    train, val, lr = [noise(4), noise(5), noise(6)], [noise(4), noise(5)], 0.1
    if other and change == "one more":
        train.append(noise(4))
    if other and change == "another order":
        train.reverse()
    if other and change == "another order of val":
        val.reverse()
    if other and change == "another lr":
        lr = 0.2
    try:
        iz.fit(tiny(), (batch for batch in train), (batch for batch in val), epochs=1, lr=lr)
    except iz.ZooError as error:
        (out / os.environ["RANK"]).write_text(str(error))
        raise


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("one more", "read different batches"),
        ("another order", "read different batches"),
        ("another order of val", "val: the ranks read different batches"),
        ("another lr", "differ in their arg"),
    ],
)
def test_ranks_that_differ_raise_an_error(tmp_path, change, text):
    codes = launch(unequal, tmp_path, change, world=2)
    assert 0 not in codes
    assert any(text in path.read_text() for path in tmp_path.iterdir())


def several(out: Path) -> None:
    """Train three times, with auxiliary heads, and with a last batch that leaves a rank without an image."""
    for number in range(3):
        torch.manual_seed(0)

        def stop(model: iz.Net, row: dict[str, float], last: int = number) -> None:
            if row["epoch"] == last:
                raise StopIteration  # on rank 0, the only one that calls it

        data = [noise(6), noise(1)], [noise(5)]
        history = iz.fit(iz.with_aux(tiny()), *data, epochs=9, channels_last=False, callbacks=[stop])
        losses = [row["loss"] for row in history.epochs]
        (out / f"{os.environ.get('RANK', '')}.{number}").write_text(json.dumps(losses))


def test_several_trainings_in_one_process(tmp_path):
    assert launch(several, tmp_path, world=2) == [0, 0]
    for number in range(3):
        first, second = (json.loads((tmp_path / f"{rank}.{number}").read_text()) for rank in (0, 1))
        assert first == second
        assert len(first) == number + 1


def overwriting(out: Path) -> None:
    def overwrite(_: iz.Net, row: dict[str, float]) -> None:
        row["loss"], row["extra"] = 1.0, 2.0  # no epoch is better than the first

    history = iz.fit(tiny(), [noise(6)], epochs=6, monitor="loss", patience_epochs=2, callbacks=[overwrite])
    (out / os.environ["RANK"]).write_text(json.dumps(history.epochs))


def test_ranks_stop_together_by_a_column_that_a_callback_writes(tmp_path):
    assert launch(overwriting, tmp_path, world=2) == [0, 0]
    first, second = (json.loads((tmp_path / rank).read_text()) for rank in "01")
    assert first == second
    assert [row["extra"] for row in first] == [2.0] * 3


class Draws(TensorDataset):
    """A data set whose images are drawn from the random generators of torch, Python and NumPy."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = torch.tensor([torch.rand(()).item(), random.random(), numpy.random.rand()])
        return drawn.view(3, 1, 1).expand(3, 8, 8).clone(), super().__getitem__(index)[1]


def drawing(out: Path, workers: int) -> None:
    model, seen = tiny(), []
    model.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0][:, :, 0, 0].tolist()))
    iz.fit(model, DataLoader(Draws(*noise(12)), 6, num_workers=workers), epochs=1)
    (out / os.environ["RANK"]).write_text(json.dumps(seen))


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_draw_different_random_numbers(tmp_path, workers):
    assert launch(drawing, tmp_path, workers, world=2) == [0, 0]
    first, second = (json.loads((tmp_path / str(rank)).read_text()) for rank in (0, 1))
    late = slice(0 if workers else 3, None)  # without workers the first batch is drawn before the ranks are seeded differently
    for column in range(3):
        assert not {draw[column] for draw in first[late]} & {draw[column] for draw in second[late]}


@pytest.mark.full
@pytest.mark.parametrize("fault", ["none", "hang", "nan"])
def test_torchrun(tmp_path, fault):
    script = (
        "import sys, pathlib, torch, trainings; from datetime import timedelta; "
        "from inceptionzoo.evaluation import _distributed; "
        f"{'_distributed.TIMEOUT = timedelta(seconds=5); ' if fault == 'hang' else ''}torch.set_num_threads(1); "
        f"trainings.train_with_a_fault(pathlib.Path({str(tmp_path)!r}), {fault!r}, 1)"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(path)]
    done = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True)
    assert (done.returncode == 0) == (fault == "none"), done.stderr
    assert (tmp_path / "done.pt").exists() == (fault == "none")
