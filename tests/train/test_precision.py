"""A warning where the processor or the GPU emulates a precision."""

import warnings

import pytest
import torch
from helpers import noise

import inceptionzoo as iz
from inceptionzoo.bench import bench
from inceptionzoo.nn import private_torch, warn_if_emulated

DATA = [(noise(4, 3, 8, 8), torch.arange(4) % 2)]
TEXT = "precision='{}' is emulated on this processor, which has no {} instructions.*Pass precision='fp32'"


@pytest.fixture
def processor(monkeypatch):
    """A function that sets the dtypes that the processor supports."""
    return lambda *dtypes: monkeypatch.setattr(private_torch, "processor_supports", dtypes.__contains__)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_fit_warns_once_before_it_starts(tiny, processor, precision, dtype):
    processor()
    calls = []
    tiny.register_forward_hook(lambda *_: calls.append(1))
    with pytest.warns(UserWarning, match=TEXT.format(precision, precision)) as warned:
        iz.fit(tiny, DATA, epochs=2, precision=precision, device="cpu")
    assert [warning.filename for warning in warned] == [__file__]
    calls.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            iz.fit(tiny, DATA, epochs=1, precision=precision, device="cpu")
        assert not calls
        processor(dtype)
        iz.fit(tiny, DATA, epochs=1, precision=precision, device="cpu")
        assert calls


def test_bench_warns(processor):
    processor()
    options = {"batches": [1], "size": 32, "rounds": 1, "compiled": False, "precision": "bf16"}
    with pytest.warns(UserWarning, match=TEXT.format("bf16", "bf16")) as warned:
        bench(["vgg11_bn_cifar"], **options)
    assert warned[0].filename == __file__


@pytest.mark.parametrize("supported", [True, False])
def test_a_gpu_without_bf16(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported and not including_emulation)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for precision in ("fp32", "bf16", "fp16"):
            warn_if_emulated(precision, torch.device("cuda", 0), stacklevel=1)
    assert [str(warning.message).split(",")[0] for warning in warned] == (
        [] if supported else ["precision='bf16' is emulated on cuda:0"]
    )


def test_the_capabilities_of_the_processor(monkeypatch):
    """Without the private function, AVX-512 counts as bf16."""
    assert isinstance(private_torch.processor_supports(torch.bfloat16), bool)
    missing = dict.fromkeys(private_torch.ONEDNN_DTYPES, "torch:no_such_function")
    monkeypatch.setattr(private_torch, "ONEDNN_DTYPES", missing)
    for capability, expected in (("AVX2", False), ("AVX512", True)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert private_torch.processor_supports(torch.bfloat16) is expected
        assert not private_torch.processor_supports(torch.float16)


def test_targets_keep_their_digits_in_a_model_of_few(make):
    """They are compared with the outputs, and the loss is computed, in float32."""
    model, targets = make().bfloat16(), torch.tensor([[1.001], [2.003], [-3.007]])
    model.reset_classifier(1)
    data = [(noise(3, 3, 16, 16), targets)]
    row = iz.fit(model, data, data, epochs=1, task="regression", lr=0.0, metrics={"largest": lambda r: r.targets.max()}).epochs[
        0
    ]
    result = iz.evaluate(model, data)
    assert result.targets.equal(targets)
    assert row["val_largest"] == targets.max()
    expected = (result.outputs - targets).square().mean().item()
    assert row["val_loss"] == result.loss == pytest.approx(expected, rel=1e-6)


def test_class_weights_of_a_model_of_few_digits(make):
    row = iz.fit(make().bfloat16(), [(noise(4, 3, 16, 16), torch.arange(4) % 2)], epochs=1, class_weights=[1, 3]).epochs[0]
    assert row["loss"] > 0
