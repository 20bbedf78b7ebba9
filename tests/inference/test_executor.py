"""Stages played by a program give what they give one by one: at every call, input and change of what the program relies on."""

import copy
import pickle
import threading

import pytest
import torch
from convolutions import WINOGRAD
from helpers import distance, fill, noise
from torch import nn

import inceptionzoo as iz
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference import _executor as file
from inceptionzoo.inference._executor import FusedStages
from inceptionzoo.inference._modules import ConvAct
from inceptionzoo.inference._recording import Program, TorchCall

BLOCK = iz.inception(8, 8, 16, 4, 8, 8)
NETWORK = iz.network(
    stem=iz.Conv(8, 3),
    pool=iz.Pool("max", 3, 2),
    first=BLOCK,
    nothing=iz.Op(nn.Identity, 40),  # its output is its input, which must not be given away
    around=iz.Residual(iz.concat(a=iz.Conv(8), b=iz.chain(iz.Conv(8), iz.Conv(8, 3)))),
    average=iz.concat(
        whole=iz.Op(nn.Identity, 40), a=iz.chain(iz.Pool("avg", 3), iz.Conv(8)), b=iz.Conv(8), c=iz.Pool("max", 3)
    ),
    last=iz.concat(b=iz.chain(iz.Conv(8), iz.Conv(8, (1, 3))), a=iz.Conv(16, act=False)),
)


@pytest.fixture
def fast(register) -> iz.Net:
    register("played", NETWORK, num_classes=5, input_size=(3, 20, 20))
    return iz.fuse(fill(iz.create_model("played"), noise(4, 3, 20, 20)))


def apart(model: iz.Net, x: torch.Tensor) -> torch.Tensor:
    """Return the output of the stages one by one, by torch's autotune."""
    return iz.inference.tuned(copy.deepcopy(model), False)(x)


def programs(model: iz.Net) -> list[Program | None]:
    assert isinstance(model.features, FusedStages)
    return list(model.features._programs.values())


@torch.no_grad()
def test_calls_do_not_disturb_each_other(fast, monkeypatch):
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda found, x: next(iter(found)))  # a compiled one where there is any
    inputs = [noise(2, 3, 20, 24, seed=seed) for seed in range(3)]
    outputs = [fast(x) for x in inputs]
    maps = [fast.forward_features(x) for x in inputs]
    assert not maps[0].equal(maps[1])
    for x, y, last in zip(inputs, outputs, maps, strict=True):
        assert distance(y, apart(fast, x)) < WINOGRAD
        assert fast(x).equal(y)
        assert fast.forward_features(x).equal(last)
    (program,) = programs(fast)
    assert program is not None
    assert 0 < program.size < 1 << 20
    assert not [item for item in program._items if isinstance(item, TorchCall) and isinstance(item.function, ConvAct)]


@torch.no_grad()
def test_inputs_of_every_layout(fast):
    wide = noise(5, 4, 40, 31)
    for x in (
        wide[1:3, :3, :20, :20],
        wide[3:, 1:, ::2, :20],
        wide[:1, :3, :20, :20].contiguous(memory_format=torch.channels_last),
        wide[:2, :3, :20, :20].contiguous(memory_format=torch.channels_last)[1:],
    ):
        for _ in range(2):
            assert distance(fast(x), apart(fast, x)) < WINOGRAD
    assert all(programs(fast))
    assert len(programs(fast)) == file.MAX_INPUT_SIZES - 1  # the last two are alike


@torch.no_grad()
def test_more_sizes_than_are_remembered(fast):
    for side in range(20, 20 + 2 * file.MAX_INPUT_SIZES):
        x = noise(1, 3, side, 20)
        assert distance(fast(x), apart(fast, x)) < WINOGRAD
    assert len(programs(fast)) == file.MAX_INPUT_SIZES


def test_in_and_out_of_inference_mode(fast):
    x = noise(1, 3, 20, 20)
    with torch.inference_mode():
        inside = fast(x)
    assert inside.is_inference()
    outside = fast(x)
    assert outside.equal(inside)
    assert not outside.is_inference()
    assert len(programs(fast)) == 1


@pytest.mark.parametrize("change", ["weight", "bias", "parameter", "data", "module", "hook", "inside hook", "gradient"])
def test_what_a_program_relies_on_is_watched(fast, change):
    x, seen = noise(1, 3, 20, 20), []
    with torch.no_grad():
        before = fast(x)
    conv = fast.features.first.first.conv
    match change:
        case "weight":
            with torch.no_grad():
                conv.weight.mul_(2)
        case "bias":
            with torch.no_grad():
                conv.bias.add_(1)
        case "parameter":
            conv.weight = nn.Parameter(conv.weight * 2, requires_grad=False)
        case "data":
            conv.weight.data = conv.weight * 2
        case "module":
            fast.features.pool = nn.MaxPool2d(5, 2, 2)
        case "hook":
            fast.features.first.register_forward_hook(lambda *of: seen.append(of[2].shape))
        case "inside hook":
            conv.register_forward_hook(lambda *of: seen.append(of[2].shape))
        case "gradient":
            conv.requires_grad_(True)
            fast(x).sum().backward()
            assert conv.weight.grad.abs().sum() > 0
    with torch.no_grad():
        after = fast(x)
        assert distance(after, apart(fast, x)) < WINOGRAD
    if change in ("weight", "bias", "parameter", "data", "module"):
        assert distance(after, before) > 1e-3
    assert len(seen) == 2 * ("hook" in change)  # the copy of `apart` has the hook too


@torch.no_grad()
def test_two_threads_at_once(fast):
    inputs = [noise(1, 3, 20, 20, seed=seed) for seed in range(2)]
    expected, wrong = [fast(x) for x in inputs], []

    def work(x: torch.Tensor, y: torch.Tensor) -> None:
        with torch.no_grad():
            wrong.extend(distance(fast(x), y) for _ in range(50) if distance(fast(x), y) > WINOGRAD)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert not wrong


@torch.no_grad()
def test_another_number_of_threads(fast):
    x, before = noise(1, 3, 20, 20), torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert distance(fast(x), apart(fast, x)) < WINOGRAD
    finally:
        torch.set_num_threads(before)
    assert len(programs(fast)) == 3


@torch.no_grad()
def test_no_more_memory_than_there_is(fast, monkeypatch):
    monkeypatch.setattr(file, "MAX_PROGRAM_BYTES", 1 << 10)
    x = noise(1, 3, 20, 20)
    assert distance(fast(x), apart(fast, x)) < WINOGRAD
    assert programs(fast) == [None]


@torch.no_grad()
def test_a_batch_too_large_is_played_in_parts(fast, monkeypatch):
    """Parts are of a power of two, and the rest; where one of them has no room either, the batch runs pass by pass."""
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda found, x: next(iter(found)))  # the same for every batch, however long it took
    fast(noise(4, 3, 20, 20))
    (four,) = programs(fast)
    assert four
    fast.features._programs.clear()
    monkeypatch.setattr(file, "MAX_PROGRAM_BYTES", 2 * four.size - 1)
    seen, real, x = [], Program.__call__, noise(9, 3, 20, 20)
    monkeypatch.setattr(Program, "__call__", lambda self, x: (seen.append(len(x)), real(self, x))[1])
    for _ in range(2):
        seen.clear()
        assert distance(fast(x), apart(fast, x)) < WINOGRAD
    assert seen == [4, 4, 1]
    monkeypatch.setattr(file, "MAX_PROGRAM_BYTES", 1 << 10)
    fast.features._programs.clear()
    seen.clear()
    for _ in range(2):
        assert distance(fast(x), apart(fast, x)) < WINOGRAD
    assert not seen
    assert fast.features._programs[file._program_key(x)] is None


@torch.no_grad()
def test_a_program_that_differs_is_not_played(fast, monkeypatch):
    monkeypatch.setattr(Program, "__call__", lambda self, x: torch.ones(1, 24, 10, 10))
    x = noise(1, 3, 20, 20)
    assert distance(fast(x), apart(fast, x)) < WINOGRAD
    assert programs(fast) == [None]


@torch.no_grad()
def test_copies(fast):
    x = noise(1, 3, 20, 20)
    y = fast(x)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert not programs(other)
        assert distance(other(x), y) < WINOGRAD
        assert all(programs(other))
    assert all(programs(fast))


@torch.no_grad()
def test_values_without_a_number(fast):
    """What the first input holds does not decide how the next ones run."""
    x = noise(1, 3, 20, 20)
    assert fast(x * float("nan")).isnan().all()
    assert distance(fast(x), apart(fast, x)) < WINOGRAD
    assert all(programs(fast))
