"""Each way to run an operation gives torch's outputs; the fastest is chosen, and torch's wherever something looks on."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch
from helpers import distance, noise
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import inceptionzoo as iz
from inceptionzoo.inference import machine, ways
from inceptionzoo.inference import maxima as maxima_file
from inceptionzoo.inference.blocks import ConvAct, MaxPool
from inceptionzoo.inference.fuse import tuned
from inceptionzoo.inference.maxima import MaxPool as CompiledPool
from inceptionzoo.inference.maxima import maxima
from inceptionzoo.inference.packed import Packed
from inceptionzoo.inference.winograd import Winograd, suits

CLOSE = 5e-6  # of the largest output, packed against float64
WINOGRAD = 1e-4


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(ways, "_FASTEST", {})


def conv(into: int = 8, out: int = 16, kernel: object = 3, **options: object) -> nn.Conv2d:
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    options = {"padding": tuple(side // 2 for side in sides)} | options
    made = nn.Conv2d(into, out, sides, **options).requires_grad_(False)
    made.weight.copy_(noise(*made.weight.shape)), made.bias.copy_(noise(out))
    return made.to(memory_format=torch.channels_last)


def maps(*shape: int) -> torch.Tensor:
    return noise(*shape, seed=2).to(memory_format=torch.channels_last)


def expected(made: nn.Conv2d, x: torch.Tensor, relu: bool) -> torch.Tensor:
    y = copy.deepcopy(made).double()(x.double())
    return y.relu() if relu else y


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("side", [7, 12, 30])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 0},
        {"padding": 2},
        {"padding": (0, 1)},
        {"into": 12, "out": 20},
        {"into": 64, "out": 48},
        {"kernel": 5},
        {"kernel": (1, 7)},
        {"kernel": (7, 1)},
        {"kernel": (1, 3)},
        {"kernel": (3, 5), "padding": 0},
        {"into": 256, "out": 128},
    ],
    ids=str,
)
def test_winograd(options, side, relu):
    made = conv(**options)
    assert suits(made)
    x = maps(3, made.in_channels, side, side + 2)
    way = Winograd(made, relu, x.shape)
    y = way(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert distance(y, expected(made, x, relu)) < WINOGRAD
    other = maps(1, made.in_channels, side + 3, side)
    assert distance(way(other), expected(made, other, relu)) < WINOGRAD


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_winograd_on_threads_and_in_parts(threads, monkeypatch):
    """Few tiles a part, the last part overlapping: every tile is worked on, by whichever thread."""
    monkeypatch.setattr("inceptionzoo.inference.winograd.CACHE", 1 << 14)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        made, x = conv(), maps(2, 8, 45, 51)
        way = Winograd(made, True, x.shape)
        assert way._step(x.shape) < 2 * 12 * 13
        assert distance(way(x), expected(made, x, True)) < WINOGRAD
    finally:
        torch.set_num_threads(before)


def test_winograd_of_some_channels_and_other_layouts():
    made, wide = conv(), maps(2, 40, 9, 11)
    for x in (wide[:, 8:16], wide[:, 32:], maps(2, 8, 9, 11).contiguous(), maps(2, 8, 22, 11)[:, :, ::2], wide[1:, :8]):
        assert distance(Winograd(made, False, x.shape)(x), expected(made, x, False)) < WINOGRAD


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 1},
        {"kernel": 2},
        {"kernel": 9},
        {"stride": 2},
        {"dilation": 2},
        {"groups": 2},
        {"into": 3},
        {"into": 8192},
    ],
    ids=str,
)
def test_what_winograd_leaves(options):
    assert not suits(conv(**options))


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"kernel": 1}, {"stride": 2, "kernel": 7, "into": 3}, {"dilation": 2}, {"groups": 4}, {"bias": True, "padding": 0}],
    ids=str,
)
def test_packed(options, relu):
    made = conv(**options)
    for shape in ((2, made.in_channels, 17, 20), (1, made.in_channels, 40, 9)):
        x = maps(*shape)
        way = Packed(made, relu, (2, made.in_channels, 17, 20))
        assert distance(way(x), expected(made, x, relu)) < CLOSE
        assert distance(way(x.contiguous()), expected(made, x, relu)) < CLOSE


@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (3, 1, 1), (2, 2, 0), ((2, 3), (1, 2), (1, 0)), (5, 3, 2)]
)
@pytest.mark.parametrize("channels", [1, 4, 24, 32])
def test_max_pools(kernel, stride, padding, ceil_mode, channels):
    pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    for height, width in ((7, 8), (9, 12), (14, 5)):
        wide = maps(2, channels + 8, height, width)
        for x in (wide[:, :channels], wide[:, :channels].contiguous()):
            y = CompiledPool(pool, x.shape)(x)
            assert y.equal(pool(x))
            assert y.shape[1] == 1 or y.is_contiguous(memory_format=torch.channels_last)


def test_nan_and_infinity():
    x = maps(1, 8, 12, 12)
    x[0, 3, 5, 5] = float("nan")
    pool = nn.MaxPool2d(3, 1, 1)
    assert CompiledPool(pool, x.shape)(x).isnan().equal(pool(x).isnan())
    made = conv()
    for relu in (True, False):
        assert Winograd(made, relu, x.shape)(x)[..., 4:7, 4:7].isnan().all()
    y = maps(1, 8, 12, 12).index_fill(1, torch.tensor(0), float("inf"))
    assert not Winograd(made, False, y.shape)(y).isfinite().any()
    assert CompiledPool(pool, y.shape)(y).equal(pool(y))


def quick(**options: object) -> ConvAct:
    block = ConvAct(conv(**options), nn.ReLU(inplace=True))
    return tuned(block)


def names(block: ConvAct | MaxPool) -> list[str]:
    return [] if block._ways is None else [type(way).__name__ for way in block._ways.chosen.values()]


def test_the_fastest_is_chosen(monkeypatch):
    """By the clock: time is what each way is said to take."""
    for winner, kind in (("Packed", "Packed"), ("Winograd", "Winograd"), ("function", "function")):
        monkeypatch.setattr(ways, "_FASTEST", {})
        monkeypatch.setattr(ways, "_seconds", lambda way, x, winner=winner: 1.0 if type(way).__name__ == winner else 2.0)
        block = quick()
        with torch.no_grad():
            x = maps(1, 8, 9, 9)
            for _ in range(2):
                assert distance(block(x), expected(block.conv, x, True)) < WINOGRAD
        assert names(block) == [kind]


def test_a_gain_must_be_clear(monkeypatch):
    times = {"function": 1.0, "Packed": 0.98, "Winograd": 0.99}
    monkeypatch.setattr(ways, "_seconds", lambda way, x: times[type(way).__name__])
    block = quick()
    block(maps(1, 8, 9, 9))
    assert names(block) == ["function"]


def test_outputs_that_differ_are_not_used(monkeypatch):
    monkeypatch.setattr(ways, "_seconds", lambda way, x: 2.0 if type(way).__name__ == "function" else 1.0)
    for kind in (Winograd, Packed):
        call = kind.__call__
        monkeypatch.setattr(kind, "__call__", lambda self, x, call=call: call(self, x) * 1.001)
    block = quick()
    block(maps(1, 8, 9, 9))
    assert names(block) == ["function"]


def test_copies_run_the_same_way(monkeypatch):
    """What is found for one convolution holds for all of its kind, so that copies agree to the bit."""
    asked = []
    monkeypatch.setattr(ways, "_seconds", lambda way, x: asked.append(way) or len(asked))
    block, x = quick(), maps(1, 8, 9, 9)
    first = block(x)
    count = len(asked)
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert other._ways is None
        assert other(x).equal(first)
    assert len(asked) == count
    quick(out=32)(x)
    assert len(asked) > count


def test_few_sizes_are_remembered():
    block = quick()
    for side in range(5, 15):
        x = maps(1, 8, side, side)
        assert distance(block(x), expected(block.conv, x, True)) < WINOGRAD
    assert len(block._ways.chosen) == ways.MOST


@pytest.mark.parametrize("change", ["copy_", "load_state_dict", "data", "parameter"])
def test_changed_weights_are_noticed(change):
    block, x = quick(), maps(1, 8, 12, 12)
    before = block(x)
    twice = {"conv.weight": 2 * block.conv.weight, "conv.bias": 2 * block.conv.bias}
    match change:
        case "copy_":
            block.conv.weight.copy_(twice["conv.weight"]), block.conv.bias.copy_(twice["conv.bias"])
        case "load_state_dict":
            block.load_state_dict(twice)
        case "data":
            block.conv.weight.data, block.conv.bias.data = twice.values()
        case "parameter":
            block.conv.weight, block.conv.bias = (nn.Parameter(value, requires_grad=False) for value in twice.values())
    assert distance(block(x), 2 * before) < WINOGRAD


def test_forgotten_with_the_model():
    block = quick()
    block(maps(1, 8, 9, 9))
    gone = [weakref.ref(block._ways)]
    del block
    gc.collect()
    assert gone[0]() is None


class Seen(torch.Tensor):
    """A kind of tensor of someone else's."""


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own, of jvp
@pytest.mark.parametrize(
    "how",
    [
        "float64",
        "gradient",
        "weights",
        "hook",
        "global hook",
        "subclass",
        "vmap",
        "jvp",
        "autocast",
        "dispatch",
        "empty",
        "inference weights",
    ],
)
def test_torchs_way_where_something_looks_on(how, monkeypatch):
    block, x = quick(), maps(2, 8, 9, 9)
    plain = block.act(block.conv(x))
    match how:
        case "float64":
            assert block.double()(x.double()).dtype == torch.float64
        case "gradient":
            (gradient,) = torch.autograd.grad(block(x.requires_grad_()).sum(), x)
            assert gradient.abs().sum() > 0
        case "weights":
            block.conv.requires_grad_(True)
            block(x).sum().backward()
            assert block.conv.weight.grad is not None
        case "hook":
            seen = []
            block.conv.register_forward_hook(lambda *args: seen.append(args))
            block(x)
            assert len(seen) == 1
        case "global hook":
            seen = []
            with nn.modules.module.register_module_forward_hook(lambda module, *args: seen.append(module)):
                block(x)
            assert block.conv in seen
        case "subclass":
            assert type(block(x.as_subclass(Seen))) is Seen
        case "vmap":
            assert distance(torch.vmap(block)(x[None])[0], plain) < CLOSE
        case "jvp":
            _, tangent = torch.func.jvp(block, (x,), (torch.ones_like(x),))
            assert tangent.abs().sum() > 0
        case "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                assert block(x).dtype == torch.bfloat16
        case "dispatch":
            with FlopCounterMode(display=False) as counter:
                block(x)
            assert counter.get_total_flops() == 2 * 2 * 9 * 9 * 16 * 8 * 9
        case "inference weights":  # changes of such are not counted, so that they could not be noticed
            with torch.inference_mode():
                block = copy.deepcopy(block)
                assert block(x).equal(plain)
        case "empty":
            assert block(x[:0]).shape == (0, 16, 9, 9)
    assert not names(block)


def test_untuned():
    block, pool, x = quick(), tuned(MaxPool(nn.MaxPool2d(3, 2)), False), maps(2, 8, 9, 9)
    tuned(block, False)
    assert block(x).equal(F.relu(block.conv(x)))
    assert pool(x).equal(F.max_pool2d(x, 3, 2))
    assert not names(block) + names(pool)


def test_gradients_after_inference():
    """A block that has run by its ways still serves attacks and saliency maps."""
    block, x = quick(), maps(2, 8, 9, 9)
    with torch.inference_mode():
        block(x)
        assert names(block)
    y = x.clone().requires_grad_()
    block(y).sum().backward()
    assert y.grad.abs().sum() > 0


def test_from_several_threads():
    """Threads of a server: each has its own place for tiles."""
    block, images = quick(into=16), [maps(1, 16, 20 + place % 3, 24) for place in range(12)]
    wanted = [expected(block.conv, x, True) for x in images]
    far = []

    def work(place: int) -> None:
        far.extend(distance(block(images[place]), wanted[place]) for _ in range(20))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(far) == 240
    assert max(far) < WINOGRAD


def test_without_llvmlite(monkeypatch):
    model = iz.create_model("vgg11_bn_cifar", num_classes=2).eval()
    monkeypatch.setattr(ways, "find_spec", lambda name: None)
    ways.compiles.cache_clear()
    try:
        with pytest.warns(
            UserWarning, match=r"without Winograd's method.*it needs llvmlite 0.46 \(pip install 'inceptionzoo.fast.'\)"
        ):
            fast = iz.fuse(model)
        images = noise(1, 3, 32, 32)
        with torch.inference_mode():
            assert distance(fast(images), model(images)) < WINOGRAD
        kinds = {name for block in fast.modules() if isinstance(block, ConvAct | MaxPool) for name in names(block)}
        assert kinds <= {"Packed", "function", "MaxPool2d"}
        iz.fuse(model, tune=False)
    finally:
        ways.compiles.cache_clear()


@pytest.mark.parametrize(("what", "error"), [("openmp", OSError("no such library")), ("addresses", RuntimeError("parsing"))])
def test_without_torchs_openmp_or_with_an_old_llvmlite(monkeypatch, what, error):
    def none(*args):
        raise error

    maxima.cache_clear()
    monkeypatch.setattr(machine if what == "openmp" else maxima_file, what, none)
    ways.compiles.cache_clear()
    try:
        assert not ways.compiles()
    finally:
        ways.compiles.cache_clear()
        monkeypatch.undo()
    assert ways.compiles()


def test_without_onednn(monkeypatch):
    monkeypatch.setattr(ways, "packs", lambda: False)
    ways.compiles.cache_clear()
    try:
        block, x = quick(), maps(1, 8, 9, 9)
        assert block(x).equal(F.relu(block.conv(x)))
        assert names(block) == ["function"]
    finally:
        ways.compiles.cache_clear()
