"""`fit` trains by kernels in fp32 and channels_last, and restores the model's setting."""

import copy
import threading
from contextlib import nullcontext

import pytest
import torch
from helpers import noise

import inceptionzoo as iz
from inceptionzoo.kernels import KernelOps, _training
from inceptionzoo.nn import ConvNormAct, build_network

BATCHES = [(noise(8, 3, 16, 16, seed=seed), torch.arange(8) % 2) for seed in range(2)]
NETWORK = iz.network(
    stem=iz.Conv(16, 3), pool=iz.Pool("max", 3, 2), block=iz.inception(8, 8, 8, 8, 8, 8), pool2=iz.Pool("max", 2),
    aux=(iz.Aux("stem", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2)),),
)  # fmt: skip


def make_model() -> iz.Net:
    return build_network(NETWORK, num_classes=2)


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small convolutions run by Winograd's method, too."""
    monkeypatch.setattr(_training, "MIN_PRODUCTS", 0)
    monkeypatch.setattr(_training, "MIN_PIXELS", 0)


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The names of the operations that ran by kernels."""
    names: list[str] = []
    for name in ("normalize_relu", "max_pool"):
        method = getattr(KernelOps, name)
        monkeypatch.setattr(KernelOps, name, lambda *args, n=name, m=method: names.append(n) or m(*args))
    return names


def train(**options: object) -> tuple[iz.Net, iz.train.History]:
    torch.manual_seed(0)
    model = make_model()
    return model, iz.fit(model, BATCHES, BATCHES, epochs=1, seed=1, progress=False, **options)


def test_fit_uses_kernels(calls):
    model, history = train()
    assert set(calls) == {"normalize_relu", "max_pool"}
    assert all(getattr(module, "training_ops", None) is None for module in model.modules())
    count = len(calls)
    _, plain = train(kernels=False)
    assert len(calls) == count
    assert history.epochs[0]["loss"] == pytest.approx(plain.epochs[0]["loss"], rel=1e-3)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"channels_last": False}], ids=str)
def test_other_trainings_run_by_torch(monkeypatch, options):
    for name in ("normalize_relu", "convolve"):
        module = "inceptionzoo.kernels._batch_norm" if name == "normalize_relu" else "inceptionzoo.kernels._winograd_training"
        monkeypatch.setattr(f"{module}.{name}", None)
    train(**options)


def test_two_trainings_have_the_same_bits(calls):
    ours, again = train()[0].state_dict(), train()[0].state_dict()
    assert calls
    assert all(torch.equal(value, again[key]) for key, value in ours.items())


def test_checkpointing_changes_no_bit(calls):
    plain, checkpointed = train()[0].state_dict(), train(checkpoint=True)[0].state_dict()
    assert calls
    assert all(torch.equal(value, checkpointed[key]) for key, value in plain.items())


def test_a_model_that_uses_kernels_does_so_after_fit():
    model = iz.train.use_kernels(make_model())
    iz.fit(model, BATCHES, epochs=1, progress=False, kernels=False)
    assert isinstance(model.training_ops, KernelOps)
    assert isinstance(copy.deepcopy(model).training_ops, KernelOps)


def test_a_hook_sees_what_torch_computes(calls):
    """A block with a hook on its activation runs by its modules, and the hook is called."""
    model = iz.train.use_kernels(make_model()).to(memory_format=torch.channels_last)
    seen = []
    blocks = [module for module in model.modules() if isinstance(module, ConvNormAct)]
    for block in blocks:
        block.act.register_forward_hook(lambda *args: seen.append(args))
    model.train()(BATCHES[0][0].to(memory_format=torch.channels_last))
    assert len(seen) == len(blocks) == 7


def test_kernels_must_be_a_bool():
    with pytest.raises(iz.ArgumentError, match="kernels"):
        train(kernels="yes")


def test_networks_made_of_a_model_keep_its_setting():
    model = iz.train.use_kernels(make_model())
    for other in (iz.with_aux(model), copy.deepcopy(model)):
        blocks = [module for module in other.modules() if isinstance(module, ConvNormAct)]
        assert len(blocks) == 7
        assert all(isinstance(block.training_ops, KernelOps) for block in blocks), other


def test_a_training_after_a_call_in_inference_mode():
    """The scratch memory of a thread is first allocated in inference mode."""
    errors: list[str] = []

    def work() -> None:
        model = iz.train.use_kernels(make_model()).to(memory_format=torch.channels_last).train()
        images = BATCHES[0][0].to(memory_format=torch.channels_last)
        try:
            with torch.inference_mode():
                model(images)
            model(images).sum().backward()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors


def test_checkpointing_with_tensors_on_the_cpu():
    """A map that a saved-tensor hook unpacks is another tensor, and does not know what it was computed from."""
    images, gradients = BATCHES[0][0].to(memory_format=torch.channels_last), []
    network = iz.network(stem=iz.Conv(16, 3), block=iz.inception(8, 8, 8, 8, 8, 8))
    for hook in (nullcontext, torch.autograd.graph.save_on_cpu):
        torch.manual_seed(0)
        model = iz.train.use_kernels(iz.build(network)).to(memory_format=torch.channels_last).train()
        model.set_grad_checkpointing()
        with hook():
            loss = model(images).square().sum()
        loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert all(map(torch.equal, *gradients))
