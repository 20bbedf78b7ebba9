"""A program gives the outputs of the stages run one by one, for every input layout and after every change of the model."""

import copy
import gc
import pickle
import threading
import weakref
from collections import OrderedDict

import pytest
import torch
from convolutions import WINOGRAD
from helpers import distance, fill, noise
from torch import nn

import inceptionzoo as iz
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference import _executor as executor
from inceptionzoo.inference._executor import FusedStages
from inceptionzoo.inference._modules import ConvAct
from inceptionzoo.inference._program import Program, TorchCall
from inceptionzoo.nn import ResidualBlock

BLOCK = iz.inception(8, 8, 16, 4, 8, 8)
NETWORK = iz.network(
    stem=iz.Conv(8, 3),
    pool=iz.Pool("max", 3, 2),
    first=BLOCK,
    nothing=iz.Op(nn.Identity, 40),  # its output is its input, whose memory must not be reused
    around=iz.Residual(iz.concat(a=iz.Conv(8), b=iz.chain(iz.Conv(8), iz.Conv(8, 3)))),
    average=iz.concat(
        whole=iz.Op(nn.Identity, 40), a=iz.chain(iz.Pool("avg", 3), iz.Conv(8)), b=iz.Conv(8), c=iz.Pool("max", 3)
    ),
    last=iz.concat(b=iz.chain(iz.Conv(8), iz.Conv(8, (1, 3))), a=iz.Conv(16, act=False)),
)


@pytest.fixture
def fast(register) -> iz.Net:
    register("recorded", NETWORK, num_classes=5, input_size=(3, 20, 20))
    return iz.fuse(fill(iz.create_model("recorded"), noise(4, 3, 20, 20)))


def untuned_output(model: iz.Net, x: torch.Tensor) -> torch.Tensor:
    """Return the model's output, computed stage by stage by torch's operations."""
    return iz.inference.tuned(copy.deepcopy(model), False)(x)


def programs(model: iz.Net) -> list[Program | None]:
    assert isinstance(model.features, FusedStages)
    return list(model.features._programs.values())


@torch.no_grad()
def test_calls_do_not_disturb_each_other(fast, monkeypatch):
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(iter(candidates)))  # a generated kernel, if supported
    inputs = [noise(2, 3, 20, 24, seed=seed) for seed in range(3)]
    outputs = [fast(x) for x in inputs]
    maps = [fast.forward_features(x) for x in inputs]
    assert not maps[0].equal(maps[1])
    for x, y, last in zip(inputs, outputs, maps, strict=True):
        assert distance(y, untuned_output(fast, x)) < WINOGRAD
        assert fast(x).equal(y)
        assert fast.forward_features(x).equal(last)
    (program,) = programs(fast)
    assert program is not None
    assert 0 < program.size < 1 << 20
    calls = [item.function for item in program._steps if isinstance(item, TorchCall)]
    assert not [function for function in calls if isinstance(function, ConvAct | ResidualBlock)]


RESIDUALS = {
    "plain": iz.Residual(iz.Conv(8, 3), project=False),
    "no activation": iz.Residual(iz.chain(iz.Conv(16, 3), iz.Conv(8, 3)), project=False, act=False),
    "shortcut": iz.Residual(iz.Conv(24, 3), project=False, shortcut=iz.Conv(24)),
    "scaled": iz.Residual(iz.Conv(16, 3), scale=0.3),
    "scaled by torch": iz.Residual(iz.Conv(8, 3), project=False, scale=0.3),
    "body of another's": iz.Residual(iz.chain(iz.Conv(8), iz.Op(lambda _: nn.Tanh(), 8)), project=False),
    "body is the input": iz.Residual(iz.Op(lambda _: nn.Identity(), 8), project=False),
    "body is a view of the input": iz.Residual(iz.Op(lambda _: nn.Dropout(0.0), 8), project=False),
    "both bodies are the input": iz.Residual(iz.Residual(iz.Op(lambda _: nn.Identity(), 8), project=False), project=False),
    "nested": iz.Residual(iz.Residual(iz.Conv(8, 3), project=False), project=False),
    "in a branch": iz.concat(a=iz.Conv(8), b=iz.chain(iz.Conv(8), iz.Residual(iz.Conv(8, 3), project=False))),
}


@pytest.mark.parametrize("name", RESIDUALS)
@torch.no_grad()
def test_residual_blocks(name, monkeypatch):
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(iter(candidates)))
    stages = iz.network(stem=iz.Conv(8, 3), block=RESIDUALS[name], last=iz.concat(a=iz.Conv(8), b=iz.Conv(8, 3)))
    fast = iz.fuse(fill(iz.build(stages), noise(4, 3, 20, 20)))
    for seed in range(2):
        x = noise(2, 3, 12, 15, seed=seed)
        assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    (program,) = programs(fast)
    assert program is not None
    by_torch = [item for item in program._steps if isinstance(item, TorchCall) and isinstance(item.function, ResidualBlock)]
    assert len(by_torch) == (name == "scaled by torch")


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
            assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert all(programs(fast))
    assert len(programs(fast)) == 2  # all layouts but channels_last are copied to channels_last; there are two sizes


@torch.no_grad()
def test_more_sizes_than_the_cache_holds(fast):
    for side in range(20, 20 + 2 * executor.MAX_INPUT_SIZES):
        x = noise(1, 3, side, 20)
        assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert len(programs(fast)) == executor.MAX_INPUT_SIZES


def test_in_and_out_of_inference_mode(fast):
    x = noise(1, 3, 20, 20)
    with torch.inference_mode():
        inside = fast(x)
    assert inside.is_inference()
    outside = fast(x)
    assert outside.equal(inside)
    assert not outside.is_inference()
    assert len(programs(fast)) == 1


CHANGED_OUTPUTS = (
    "weight", "bias", "parameter", "data", "data twice", "module", "added module", "state", "setting", "scale",
    "method", "method of a block",
)  # fmt: skip


@pytest.mark.parametrize("change", [*CHANGED_OUTPUTS, "hook", "inside hook", "hook in a new table", "gradient"])
def test_changes_of_the_model_are_detected(fast, change, monkeypatch):
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(iter(candidates)))  # a generated kernel
    x, seen = noise(1, 3, 20, 20), []
    with torch.no_grad():
        before = fast(x)
    conv, act = fast.features.first.first.conv, fast.features.first.first.act
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
        case "data twice":  # the second tensor may get the memory of the first
            for _ in range(2):
                conv.weight.data = conv.weight * 2
        case "added module":
            fast.features.first.joined["0"].append(nn.Tanh())
        case "state":
            state = copy.deepcopy(conv).__getstate__()
            state["_parameters"]["weight"].mul_(2)
            conv.__setstate__(state)
        case "method of a block":
            forward = fast.features.stem.forward
            fast.features.stem.forward = lambda *arguments: forward(*arguments) * 2
        case "module":
            fast.features.pool = nn.MaxPool2d(5, 2, 2)
        case "setting":
            fast.features.pool.pool.stride = 1
        case "scale":
            fast.features.around.scale = 2.0
        case "method":
            act.forward = torch.tanh
        case "hook":
            fast.features.first.register_forward_hook(lambda *of: seen.append(of[2].shape))
        case "inside hook":
            conv.register_forward_hook(lambda *of: seen.append(of[2].shape))
        case "hook in a new table":
            conv._forward_hooks = OrderedDict()
            conv.register_forward_hook(lambda *of: seen.append(of[2].shape))
        case "gradient":
            conv.requires_grad_(True)
            fast(x).sum().backward()
            assert conv.weight.grad.abs().sum() > 0
    with torch.no_grad():
        after = fast(x)
        assert distance(after, untuned_output(fast, x)) < WINOGRAD
    if change in CHANGED_OUTPUTS:
        assert distance(after, before) > 1e-3
    assert len(seen) == 2 * ("hook" in change)  # the copy of `untuned_output` has the hook too


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


def test_a_second_thread_does_not_wait_for_the_first(fast):
    x, results = noise(1, 3, 20, 20), []
    y = fast(x)
    with fast.features._lock:  # as while the first runs a program
        thread = threading.Thread(target=lambda: results.append(fast(x)), daemon=True)
        thread.start()
        thread.join(300)
        assert distance(results[0], y) < WINOGRAD


@torch.no_grad()
def test_another_number_of_threads(fast):
    x, before = noise(1, 3, 20, 20), torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    finally:
        torch.set_num_threads(before)
    assert len(programs(fast)) == 3


@torch.no_grad()
def test_the_memory_limit(fast, monkeypatch):
    monkeypatch.setattr(executor, "MAX_PROGRAM_BYTES", 1 << 10)
    x = noise(1, 3, 20, 20)
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert programs(fast) == [None]


@torch.no_grad()
def test_all_programs_share_the_memory_limit(fast, monkeypatch):
    fast(noise(1, 3, 20, 20))
    (first,) = programs(fast)
    monkeypatch.setattr(executor, "MAX_PROGRAM_BYTES", 3 * first.size // 2)
    x = noise(1, 3, 20, 21)
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert programs(fast) == [first, None]


@torch.no_grad()
def test_a_large_batch_is_split(fast, monkeypatch):
    """Parts hold a power of two images, and the rest; if a part exceeds the limit too, the batch runs stage by stage."""
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(iter(candidates)))  # equal for all batch sizes
    fast(noise(4, 3, 20, 20))
    (four,) = programs(fast)
    assert four
    fast.features._programs.clear()
    monkeypatch.setattr(executor, "MAX_PROGRAM_BYTES", 2 * four.size - 1)
    seen, real, x = [], Program.__call__, noise(9, 3, 20, 20)
    monkeypatch.setattr(Program, "__call__", lambda self, x: (seen.append(len(x)), real(self, x))[1])
    for _ in range(2):
        seen.clear()
        assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert seen == [4, 4, 1]
    monkeypatch.setattr(executor, "MAX_INPUT_SIZES", 2)  # one less than the batch and its parts need
    fast.features._programs.clear()
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert len(programs(fast)) <= 2
    monkeypatch.setattr(executor, "MAX_PROGRAM_BYTES", 1 << 10)
    fast.features._programs.clear()
    seen.clear()
    for _ in range(2):
        assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert not seen
    assert fast.features._programs[executor._program_key(x, (len(fast.features) - 1,))] is None


@torch.no_grad()
def test_an_inaccurate_program_is_not_used(fast, monkeypatch):
    monkeypatch.setattr(Program, "__call__", lambda self, x: torch.ones(1, 24, 10, 10))
    x = noise(1, 3, 20, 20)
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert programs(fast) == [None]


@torch.no_grad()
def test_copies_record_their_own_programs(fast):
    x = noise(1, 3, 20, 20)
    y = fast(x)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert not programs(other)
        assert distance(other(x), y) < WINOGRAD
        assert all(programs(other))
    assert all(programs(fast))


@torch.no_grad()
def test_nan_in_the_first_input(fast):
    """The values of the first input do not decide how the next ones run."""
    x = noise(1, 3, 20, 20)
    assert fast(x * float("nan")).isnan().all()
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert all(programs(fast))


class AddOne(nn.Module):
    """An operation without a kernel, which works in place and counts its calls."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x.add_(1)


class Doubled(nn.Sequential):
    """A chain with a forward of its own, which must not be recorded as a plain chain."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)[:, :, 1:]


@torch.no_grad()
def test_recording_runs_each_branch_once(register, monkeypatch):
    """The output shapes of nested branches are computed: no convolution runs to find them."""
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: "torch")
    inner = iz.concat(a=iz.Conv(4, 3, dilation=2), b=iz.chain(iz.Pool("avg", 3), iz.Conv(4)), c=iz.Pool("max", 3))
    block = iz.concat(a=iz.chain(iz.Conv(8, 3), inner), b=iz.chain(iz.Pool("max", 3), inner), c=iz.Residual(iz.Conv(8)))
    down = iz.concat(a=iz.Conv(8, 3, stride=2), b=iz.Pool("max", 3, 2), c=iz.Pool("avg", (3, 3), 2))
    ceil = iz.concat(a=iz.Pool("max", 3, 2, ceil=True), b=iz.Pool("avg", 3, 2, ceil=True))
    register("nested", iz.network(block=block, ceil=ceil, down=down), num_classes=2, input_size=(8, 18, 17))
    fast, x = iz.fuse(iz.create_model("nested", in_chans=8).eval()), noise(1, 8, 18, 17)
    fast(x)  # tune
    fast.features._programs.clear()
    calls, forward = [], nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: (calls.append(self), forward(self, x))[1])
    fast(x)
    assert all(programs(fast))
    convolutions = [module for module in fast.features.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) > 5
    # each runs once to be recorded, once for the expected output, once to check the program and once for the caller
    assert [calls.count(conv) for conv in convolutions] == [4] * len(convolutions)


@torch.no_grad()
def test_branches_of_unknown_modules(register):
    """A branch with a module of unknown type runs once more, for its output shape, on a copy that it may change."""
    block = iz.concat(
        a=iz.chain(iz.Conv(8), iz.Op(lambda channels: AddOne(), 8), iz.Conv(8)),
        b=iz.chain(iz.Conv(8), iz.Op(lambda channels: AddOne(), 8)),
    )
    register("unknown", iz.network(stem=iz.Conv(8), block=block), num_classes=2, input_size=(3, 9, 9))
    fast, x = iz.fuse(iz.create_model("unknown").eval()), noise(1, 3, 9, 9)
    y = fast(x)
    assert {module.calls for module in fast.modules() if isinstance(module, AddOne)} == {5}  # the four above, and the shape
    assert distance(y, untuned_output(fast, x)) < WINOGRAD
    assert all(programs(fast))


@torch.no_grad()
def test_a_module_of_ones_own_that_changes_the_input_of_other_branches():
    """In a program it gets a copy, so there is none for these stages."""
    block = iz.concat(a=iz.chain(iz.Op(lambda channels: AddOne(), 8), iz.Conv(8)), b=iz.Conv(8))
    fast, x = iz.fuse(iz.build(iz.network(stem=iz.Conv(8), block=block)).eval()), noise(1, 3, 9, 9)
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert programs(fast) == [None]


@torch.no_grad()
@pytest.mark.parametrize("place", ["stage", "branch"])
def test_subclasses_of_sequential_run_their_own_forward(register, place):
    op = iz.Op(lambda channels: Doubled(nn.ZeroPad2d((0, 0, 1, 0)), nn.ReLU()), 8)
    layer = op if place == "stage" else iz.concat(a=iz.Conv(8), b=op)
    register("doubled", iz.network(stem=iz.Conv(8), layer=layer), num_classes=2, input_size=(3, 9, 9))
    fast, x = iz.fuse(iz.create_model("doubled").eval()), noise(1, 3, 9, 9)
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert all(programs(fast))


@torch.no_grad()
def test_projections_of_residual_blocks_are_tuned(register):
    """They run as kernels, also in copies; a replaced projection is found, and the names of weights are those of the blocks."""
    block = iz.Residual(iz.chain(iz.Conv(16, 3), iz.Conv(16, 3)))
    register("residual", iz.network(stem=iz.Conv(64), block=block, last=block), num_classes=2, input_size=(3, 24, 24))
    model, x = iz.create_model("residual").eval(), noise(1, 3, 24, 24)
    fused = iz.fuse(model)
    for net in (fused, copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert distance(net(x), model(x)) < 1e-4
        (program,) = programs(net)
        assert not [step for step in program._steps if isinstance(step, TorchCall) and type(step.function) is nn.Conv2d]
        tuned = [block.tuned_project() for block in (net.features.block, net.features.last)]
        assert [op.conv for op in tuned] == [net.features.block.project, net.features.last.project]
    assert set(fused.state_dict()) == {key for key in fused.state_dict() if "_tuned" not in key and "project.conv" not in key}
    fused.features.block.project = copy.deepcopy(fused.features.block.project)
    fused.features.block.project.weight.mul_(2)
    changed = fused(x)
    iz.inference.tuned(fused, False)
    assert distance(changed, fused(x)) < 1e-4 < distance(changed, model(x))
    assert fused.features.block.tuned_project() is fused.features.block.project


class Doubles(nn.Module):
    """Returns twice its input, or its input."""

    on = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if self.on else x


@torch.no_grad()
def test_a_module_that_later_returns_its_input(monkeypatch):
    """The memory of its input was free for the maps behind it when the program was recorded."""
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(iter(candidates)))
    stages = iz.network(stem=iz.Conv(64, 3), own=iz.Op(lambda _: Doubles(), 64), a=iz.Conv(64), b=iz.Conv(64), c=iz.Conv(64, 3))
    fast, x = iz.fuse(fill(iz.build(stages), noise(4, 3, 20, 20))), noise(1, 3, 20, 20)
    fast(x)
    (own,) = (module for module in fast.modules() if isinstance(module, Doubles))
    own.on = False
    for _ in range(2):
        assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD


class Watching(nn.Module):
    """Returns its input, which it keeps, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.seen: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x * 1.0


class Counting(Watching):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return super().forward(x)


class Centring(nn.Module):
    """Subtracts the mean over the batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean((0, 2, 3), keepdim=True)


def network_with(own: nn.Module, channels: int = 64) -> iz.Net:
    stages = iz.network(
        stem=iz.Conv(channels, 3), own=iz.Op(lambda _: own, channels), a=iz.Conv(channels), b=iz.Conv(channels), c=iz.Conv(8, 3)
    )
    return iz.fuse(fill(iz.build(stages), noise(4, 3, 20, 20)))


@torch.no_grad()
def test_a_module_of_ones_own_may_keep_its_input():
    fast, x = network_with(Watching()), noise(1, 3, 20, 20)
    fast(x)
    assert programs(fast) != [None]
    fast(x)
    assert distance(fast.features.own.seen, fast.features.stem(x)) < WINOGRAD


@torch.no_grad()
def test_a_module_of_ones_own_that_changes_its_buffers(monkeypatch):
    fast, x, recorded, record = network_with(Counting()), noise(1, 3, 20, 20), [], FusedStages._record
    monkeypatch.setattr(FusedStages, "_record", lambda *arguments: recorded.append(arguments) or record(*arguments))
    before = int(fast.features.own.calls)
    for call in range(1, 4):
        assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
        assert fast.features.own.calls == before + call
        assert not programs(fast)
    assert len(recorded) == 1


@torch.no_grad()
@pytest.mark.parametrize("own", [Centring(), nn.BatchNorm2d(64, track_running_stats=False)], ids=["own", "norm"])
def test_a_batch_on_which_outputs_depend_is_not_split(own, monkeypatch):
    fast, x = network_with(own), noise(9, 3, 20, 20) * torch.arange(9.0)[:, None, None, None]
    fast(x)
    (whole,) = programs(fast)
    monkeypatch.setattr(executor, "MAX_PROGRAM_BYTES", whole.size // 4)
    fast.features._programs.clear()
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD
    assert programs(fast) == [None]


@torch.no_grad()
def test_a_module_moves_to_the_next_branch():
    """All modules are the same, in the same order."""
    chains = {name: iz.chain(*(iz.Op(lambda _, act=act: act(), 8) for act in acts)) for name, acts in {
        "a": (nn.Softplus, nn.Tanh), "b": (nn.Sigmoid, nn.Hardswish),
    }.items()}  # fmt: skip
    fast = iz.fuse(fill(iz.build(iz.network(stem=iz.Conv(8, 3), block=iz.concat(**chains))), noise(4, 3, 20, 20)))
    x, block = noise(1, 3, 20, 20), fast.features.block
    before = fast(x)
    moved = block["a"].pop(-1)
    block["b"].insert(0, moved)
    assert distance(fast(x), before) > 1e-3
    assert distance(fast(x), untuned_output(fast, x)) < WINOGRAD


@torch.no_grad()
def test_a_fused_model_is_freed_with_its_last_reference():
    """Its programs and packed weights must not wait for the garbage collector."""
    fast = iz.fuse(fill(iz.build(NETWORK), noise(4, 3, 20, 20)))
    fast(noise(1, 3, 20, 20))
    assert programs(fast)
    stages = weakref.ref(fast.features)
    gc.disable()
    try:
        del fast
        assert stages() is None
    finally:
        gc.enable()


@torch.no_grad()
def test_a_fused_model_is_truncated(fast):
    x = noise(1, 3, 20, 20)
    expected = fast.forward_intermediates(x, indices=["first"], intermediates_only=True)[0]
    assert list(dict(fast.features[:2].named_children())) == ["stem", "pool"]
    assert fast.features[:2].tuned
    assert distance(fast.features[:2](x), fast.features.pool(fast.features.stem(x))) < WINOGRAD
    fast.prune_intermediate_layers(["first"])
    assert list(dict(fast.features.named_children())) == ["stem", "pool", "first"]
    assert distance(fast.forward_features(x), expected) < WINOGRAD
