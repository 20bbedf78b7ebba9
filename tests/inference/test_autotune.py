"""The fastest implementation is chosen, and torch's whenever something observes or transforms the operations."""

import copy
import gc
import pickle
import sys
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
from inceptionzoo.inference import _implementations as implementations
from inceptionzoo.inference._fuse import tuned
from inceptionzoo.inference._modules import ConvAct, PoolBiasAct, TunedMaxPool
from inceptionzoo.kernels import _capabilities as capabilities
from inceptionzoo.kernels import _jit as jit
from inceptionzoo.kernels._im2col import Im2colConv, packed_weight
from inceptionzoo.kernels._max_pool import max_pool_kernel
from inceptionzoo.kernels._onednn import OneDNNConv
from inceptionzoo.kernels._winograd import WinogradConv, transform_weight


@pytest.fixture(autouse=True)
def _no_measurements(monkeypatch):
    monkeypatch.setattr(autotune, "_FASTEST", {})


def tuned_conv(**options: object) -> ConvAct:
    return tuned(ConvAct(conv(**options), nn.ReLU(inplace=True)))


def chosen(block: ConvAct | TunedMaxPool) -> list[str]:
    """Return the type names of the implementations chosen so far, one for each input size."""
    return [] if block._autotuner is None else [type(run).__name__ for _, run in block._autotuner.chosen.values()]


def test_the_fastest_is_chosen(monkeypatch):
    """The clock is replaced: the winner takes 1 s, the others 2 s."""
    for winner in ("OneDNNConv", "Im2colConv", "WinogradConv", "function"):
        monkeypatch.setattr(autotune, "_FASTEST", {})
        monkeypatch.setattr(autotune, "_prepare", lambda implementation, x: implementation)
        monkeypatch.setattr(autotune, "_seconds", lambda run, winner=winner: 1.0 if type(run).__name__ == winner else 2.0)
        block = tuned_conv()
        with torch.no_grad():
            x = maps(1, 8, 9, 9)
            for _ in range(2):
                assert distance(block(x), expected(block.conv, x, True)) < WINOGRAD
        assert chosen(block) == [winner]


def test_a_later_implementation_must_be_clearly_faster(monkeypatch):
    times = {"Im2colConv": 1.0, "WinogradConv": 0.98, "OneDNNConv": 0.975, "function": 0.99}
    monkeypatch.setattr(autotune, "_prepare", lambda implementation, x: implementation)
    monkeypatch.setattr(autotune, "_seconds", lambda run: times[type(run).__name__])
    block = tuned_conv()
    block(maps(1, 8, 9, 9))
    assert chosen(block) == ["Im2colConv"]


def test_inaccurate_implementations_are_not_used(monkeypatch):
    monkeypatch.setattr(autotune, "_prepare", lambda implementation, x: implementation)
    monkeypatch.setattr(autotune, "_seconds", lambda run: 2.0 if type(run).__name__ == "function" else 1.0)
    for kind in (WinogradConv, Im2colConv, OneDNNConv):
        call = kind.__call__
        monkeypatch.setattr(kind, "__call__", lambda self, x, call=call: call(self, x) * 1.001)
    block = tuned_conv()
    block(maps(1, 8, 9, 9))
    assert chosen(block) == ["function"]


def test_copies_run_the_same_implementation(monkeypatch):
    """Equal convolutions share one measurement, so that copies agree to the bit."""
    measured = []
    monkeypatch.setattr(autotune, "_prepare", lambda implementation, x: implementation)
    monkeypatch.setattr(autotune, "_seconds", lambda run: measured.append(run) or len(measured))
    block, x = tuned_conv(), maps(1, 8, 9, 9)
    first = block(x)
    count = len(measured)
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert other._autotuner is None
        assert other(x).equal(first)
    assert len(measured) == count
    tuned_conv(out=32)(x)
    assert len(measured) > count


def test_other_candidates_are_measured_again(monkeypatch):
    """A result holds for the implementations that were compared, and not after a package or a new version adds one."""
    measured = []
    monkeypatch.setattr(autotune, "_prepare", lambda implementation, x: implementation)
    monkeypatch.setattr(autotune, "_seconds", lambda run: measured.append(run) or len(measured))
    tuned_conv()(maps(1, 8, 9, 11))
    count = len(measured)
    monkeypatch.setattr("inceptionzoo.kernels._im2col.supports", lambda _: False)
    tuned_conv()(maps(1, 8, 9, 11))
    assert len(measured) > count


def test_further_input_sizes_run_by_torch():
    block = tuned_conv()
    for side in range(5, 15):
        x = maps(1, 8, side, side)
        assert distance(block(x), expected(block.conv, x, True)) < WINOGRAD
    assert len(block._autotuner.chosen) == autotune.MAX_INPUT_SIZES


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("change", ["copy_", "load_state_dict", "data", "parameter"])
def test_changed_weights_are_detected(change, name):
    block, x = tuned_conv(), maps(1, 8, 12, 12)
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


def test_the_autotuner_is_freed_with_the_model():
    block = tuned_conv()
    block(maps(1, 8, 9, 9))
    autotuner = weakref.ref(block._autotuner)
    assert autotuner() is not None
    del block
    gc.collect()
    assert autotuner() is None


class TensorSubclass(torch.Tensor):
    """A tensor subclass of another library."""


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
        "negated memory",
        "vmap",
        "jvp",
        "autocast",
        "dispatch",
        "empty",
        "inference weights",
    ],
)
def test_torch_runs_if_something_observes(how, monkeypatch):
    block, x = tuned_conv(), maps(2, 8, 9, 9)
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
            assert type(block(x.as_subclass(TensorSubclass))) is TensorSubclass
        case "negated memory":  # as that of the imaginary part of a conjugate
            assert block(torch._neg_view(-x)).equal(plain)
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
        case "inference weights":  # they do not count their changes
            with torch.inference_mode():
                block = copy.deepcopy(block)
                assert block(x).equal(plain)
        case "empty":
            assert block(x[:0]).shape == (0, 16, 9, 9)
    assert not chosen(block)


def test_untuned_modules_run_by_torch():
    block, pool, x = tuned_conv(), tuned(TunedMaxPool(nn.MaxPool2d(3, 2)), False), maps(2, 8, 9, 9)
    tuned(block, False)
    assert block(x).equal(F.relu(block.conv(x)))
    assert pool(x).equal(F.max_pool2d(x, 3, 2))
    assert not chosen(block) + chosen(pool)


def test_gradients_after_inference():
    """A block that ran by a tuned implementation still gives gradients of its input, as for saliency maps."""
    block, x = tuned_conv(), maps(2, 8, 9, 9)
    with torch.inference_mode():
        block(x)
        assert chosen(block)
    y = x.clone().requires_grad_()
    block(y).sum().backward()
    assert y.grad.abs().sum() > 0


def test_from_several_threads():
    """Each thread has its own scratch memory."""
    block, images = tuned_conv(into=16), [maps(1, 16, 20 + index % 3, 24) for index in range(12)]
    outputs = [expected(block.conv, x, True) for x in images]
    errors = []

    def work(index: int) -> None:
        errors.extend(distance(block(images[index]), outputs[index]) for _ in range(20))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 240
    assert max(errors) < WINOGRAD


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
        kinds = {name for block in fast.modules() if isinstance(block, ConvAct | TunedMaxPool) for name in chosen(block)}
        assert kinds <= {"OneDNNConv", "function", "MaxPool2d"}
        iz.fuse(model, tune=False)
    finally:
        capabilities.has_jit.cache_clear()


@pytest.mark.parametrize(
    ("module", "function", "error"),
    [(jit, "openmp", OSError("no such library")), (jit, "compile_module", RuntimeError("parsing"))],
)
def test_without_torchs_openmp_or_with_an_old_llvmlite(monkeypatch, module, function, error):
    def fail(*args):
        raise error

    max_pool_kernel.cache_clear()
    monkeypatch.setattr(module, function, fail)
    capabilities.has_jit.cache_clear()
    try:
        assert not capabilities.has_jit()
    finally:
        capabilities.has_jit.cache_clear()
        monkeypatch.undo()
    assert capabilities.has_jit()


def test_without_onednn(monkeypatch):
    for module in (capabilities, implementations):
        monkeypatch.setattr(module, "has_onednn", lambda: False)
    capabilities.has_jit.cache_clear()
    try:
        block, x = tuned_conv(), maps(1, 8, 9, 9)
        assert block(x).equal(F.relu(block.conv(x)))
        assert chosen(block) == ["function"]
    finally:
        capabilities.has_jit.cache_clear()


def test_the_name_after_another_number_of_threads():
    block, x, threads = tuned_conv(), maps(1, 8, 9, 9), torch.get_num_threads()
    block(x)
    try:
        torch.set_num_threads(threads + 1)
        assert block.implementation_name(x) in ("torch", "im2col", "winograd_2", "winograd_4", "onednn")
    finally:
        torch.set_num_threads(threads)


def test_weights_that_are_not_finite_decide_nothing_for_others(monkeypatch):
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(iter(candidates)))
    broken, x = tuned_conv(), maps(1, 8, 9, 9)
    broken.conv.weight[0, 0, 0, 0] = float("nan")
    assert broken(x).isnan().any()
    assert broken.implementation_name(x) == "torch"
    assert tuned_conv().implementation_name(x) == "im2col"


def test_packed_weights_of_slower_implementations_are_freed(monkeypatch):
    packed: list[weakref.ref[torch.Tensor]] = []

    def remember(function):
        def pack(*arguments):
            weight = function(*arguments)
            packed.append(weakref.ref(weight))
            return weight

        return pack

    monkeypatch.setattr("inceptionzoo.kernels._im2col.packed_weight", remember(packed_weight))
    monkeypatch.setattr("inceptionzoo.kernels._winograd.transform_weight", remember(transform_weight))
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: "im2col")
    block = tuned_conv()
    block(maps(1, 8, 9, 9)), block(maps(1, 8, 11, 9))
    gc.collect()
    kept = [weight() for weight in packed if weight() is not None]
    assert len(packed) > len(kept) == 1
    assert kept[0] is block._autotuner.implementation(maps(1, 8, 9, 9), cached=False).weight


@pytest.mark.parametrize("change", ["ceil_mode", "count_include_pad", "divisor_override"])
def test_changed_settings_of_an_average_pool_are_detected(change, monkeypatch):
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: "kernel")
    pool, x = nn.AvgPool2d(3, 2, 1), maps(1, 8, 10, 10)
    block = tuned(PoolBiasAct(pool, noise(8), nn.ReLU(), 2))
    before = block(x)
    setattr(pool, change, {"ceil_mode": True, "count_include_pad": False, "divisor_override": 3}[change])
    assert block(x).shape != before.shape or distance(block(x), before) > 0.01
    assert distance(block(x), block.run_modules(x)) < 1e-5


def test_a_broken_llvmlite(monkeypatch):
    """Its import raises an error, for example because it does not find its own shared library."""
    monkeypatch.delitem(sys.modules, "inceptionzoo.kernels._jit")
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    capabilities.has_jit.cache_clear()
    try:
        monkeypatch.setattr(capabilities, "find_spec", lambda name: object())
        assert not capabilities.has_jit()
    finally:
        capabilities.has_jit.cache_clear()
