"""The fastest way is chosen, and torch's wherever something looks on."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch
from convolutions import PACKED, WINOGRAD, conv, expected, maps
from helpers import distance, noise
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import inceptionzoo as iz
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference import _capabilities as capabilities
from inceptionzoo.inference import _implementations as implementations
from inceptionzoo.inference._fuse import tuned
from inceptionzoo.inference._modules import ConvAct, TunedMaxPool
from inceptionzoo.inference.cpu import _jit as machine
from inceptionzoo.inference.cpu import _max_pool as maxima_file
from inceptionzoo.inference.cpu._im2col import Im2colConv
from inceptionzoo.inference.cpu._max_pool import max_pool_kernel
from inceptionzoo.inference.cpu._onednn import OneDNNConv
from inceptionzoo.inference.cpu._winograd import WinogradConv


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(autotune, "_FASTEST", {})


def quick(**options: object) -> ConvAct:
    block = ConvAct(conv(**options), nn.ReLU(inplace=True))
    return tuned(block)


def names(block: ConvAct | TunedMaxPool) -> list[str]:
    return [] if block._autotuner is None else [type(way).__name__ for way in block._autotuner.chosen.values()]


def test_the_fastest_is_chosen(monkeypatch):
    """By the clock: time is what each way is said to take."""
    for winner in ("OneDNNConv", "Im2colConv", "WinogradConv", "function"):
        monkeypatch.setattr(autotune, "_FASTEST", {})
        monkeypatch.setattr(autotune, "_prepare", lambda way, x: way)
        monkeypatch.setattr(autotune, "_seconds", lambda way, winner=winner: 1.0 if type(way).__name__ == winner else 2.0)
        block = quick()
        with torch.no_grad():
            x = maps(1, 8, 9, 9)
            for _ in range(2):
                assert distance(block(x), expected(block.conv, x, True)) < WINOGRAD
        assert names(block) == [winner]


def test_a_gain_must_be_clear(monkeypatch):
    times = {"Im2colConv": 1.0, "WinogradConv": 0.98, "OneDNNConv": 0.975, "function": 0.99}
    monkeypatch.setattr(autotune, "_prepare", lambda way, x: way)
    monkeypatch.setattr(autotune, "_seconds", lambda way: times[type(way).__name__])
    block = quick()
    block(maps(1, 8, 9, 9))
    assert names(block) == ["Im2colConv"]


def test_outputs_that_differ_are_not_used(monkeypatch):
    monkeypatch.setattr(autotune, "_prepare", lambda way, x: way)
    monkeypatch.setattr(autotune, "_seconds", lambda way: 2.0 if type(way).__name__ == "function" else 1.0)
    for kind in (WinogradConv, Im2colConv, OneDNNConv):
        call = kind.__call__
        monkeypatch.setattr(kind, "__call__", lambda self, x, call=call: call(self, x) * 1.001)
    block = quick()
    block(maps(1, 8, 9, 9))
    assert names(block) == ["function"]


def test_copies_run_the_same_way(monkeypatch):
    """What is found for one convolution holds for all of its kind, so that copies agree to the bit."""
    asked = []
    monkeypatch.setattr(autotune, "_prepare", lambda way, x: way)
    monkeypatch.setattr(autotune, "_seconds", lambda way: asked.append(way) or len(asked))
    block, x = quick(), maps(1, 8, 9, 9)
    first = block(x)
    count = len(asked)
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert other._autotuner is None
        assert other(x).equal(first)
    assert len(asked) == count
    quick(out=32)(x)
    assert len(asked) > count


def test_few_sizes_are_remembered():
    block = quick()
    for side in range(5, 15):
        x = maps(1, 8, side, side)
        assert distance(block(x), expected(block.conv, x, True)) < WINOGRAD
    assert len(block._autotuner.chosen) == autotune.MAX_INPUT_SIZES


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("change", ["copy_", "load_state_dict", "data", "parameter"])
def test_changed_weights_are_noticed(change, name):
    block, x = quick(), maps(1, 8, 12, 12)
    before, new = block(x), 2 * getattr(block.conv, name)
    match change:
        case "copy_":
            getattr(block.conv, name).copy_(new)
        case "load_state_dict":
            block.load_state_dict(block.state_dict() | {f"conv.{name}": new})
        case "data":
            getattr(block.conv, name).data = new
        case "parameter":
            setattr(block.conv, name, nn.Parameter(new, requires_grad=False))
    assert distance(block(x), expected(block.conv, x, True)) < WINOGRAD
    assert distance(block(x), before) > 0.01


def test_forgotten_with_the_model():
    block = quick()
    block(maps(1, 8, 9, 9))
    gone = [weakref.ref(block._autotuner)]
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
            assert distance(torch.vmap(block)(x[None])[0], plain) < PACKED
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
    block, pool, x = quick(), tuned(TunedMaxPool(nn.MaxPool2d(3, 2)), False), maps(2, 8, 9, 9)
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
    monkeypatch.setattr(capabilities, "find_spec", lambda name: None)
    capabilities.has_jit.cache_clear()
    try:
        with pytest.warns(
            UserWarning, match=r"without Winograd's method.*it needs llvmlite 0.46 \(pip install 'inceptionzoo.fast.'\)"
        ):
            fast = iz.fuse(model)
        images = noise(1, 3, 32, 32)
        with torch.inference_mode():
            assert distance(fast(images), model(images)) < WINOGRAD
        kinds = {name for block in fast.modules() if isinstance(block, ConvAct | TunedMaxPool) for name in names(block)}
        assert kinds <= {"OneDNNConv", "function", "LeanMaxPool2d"}
        iz.fuse(model, tune=False)
    finally:
        capabilities.has_jit.cache_clear()


@pytest.mark.parametrize(("what", "error"), [("openmp", OSError("no such library")), ("compiled", RuntimeError("parsing"))])
def test_without_torchs_openmp_or_with_an_old_llvmlite(monkeypatch, what, error):
    def none(*args):
        raise error

    max_pool_kernel.cache_clear()
    monkeypatch.setattr(machine if what == "openmp" else maxima_file, what, none)
    capabilities.has_jit.cache_clear()
    try:
        assert not capabilities.has_jit()
    finally:
        capabilities.has_jit.cache_clear()
        monkeypatch.undo()
    assert capabilities.has_jit()


def test_without_onednn(monkeypatch):
    monkeypatch.setattr(HAS_ONEDNN, lambda: False)
    capabilities.has_jit.cache_clear()
    try:
        block, x = quick(), maps(1, 8, 9, 9)
        assert block(x).equal(F.relu(block.conv(x)))
        assert names(block) == ["function"]
    finally:
        capabilities.has_jit.cache_clear()
