"""Optimizers of the user, frozen parameters, compiled and wrapped models, and metrics that cannot be computed."""

import copy
import math

import pytest
import torch
from helpers import noise
from torch import nn
from torch.optim import LBFGS, SGD, Optimizer, SparseAdam
from torch.optim.lr_scheduler import StepLR

import inceptionzoo as iz

DATA = [(noise(8, 3, 8, 8) + (torch.arange(8) % 2)[:, None, None, None], torch.arange(8) % 2)]


def assert_refused(model: iz.Net, text: str, **options: object) -> None:
    """Check that fit raises an ArgumentError and leaves the model as it is."""
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(iz.ArgumentError) as error:
        iz.fit(model, DATA, epochs=2, **options)
    assert text in str(error.value)
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())


def test_an_optimizer_that_was_made_before_the_new_head(tiny):
    optimizer = SGD(tiny.parameters(), lr=0.01)
    tiny.reset_classifier(3)
    assert_refused(tiny, "SGD does not hold head.fc.weight, head.fc.bias; make it from model.parameters()", optimizer=optimizer)


def test_an_optimizer_of_another_model(make):
    optimizer = SGD(make().parameters(), lr=0.01)
    assert_refused(make(), "SGD does not hold features.conv1.conv.weight, ", optimizer=optimizer)


def test_stale_parameters(tiny):
    old = nn.Linear(5, 7)
    optimizer = SGD([*tiny.parameters(), *old.parameters()], lr=0.01)
    assert_refused(tiny, "holds parameters that are not the model's, of shape (7, 5), (7,)", optimizer=optimizer)


def test_auxiliary_heads_must_be_held(register):
    side = iz.Aux("conv1", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2))
    register("with_side", iz.network(conv1=iz.Conv(4, 3), aux=(side,)), num_classes=2, input_size=(3, 8, 8))
    plain = iz.create_model("with_side")
    model = iz.with_aux(plain)
    assert_refused(model, "SGD does not hold aux.conv1.", optimizer=SGD(plain.parameters(), lr=0.01))


def test_frozen_parameters_need_no_optimizer(tiny):
    """Only the head is trained: the optimizer of the head alone is accepted if the rest is frozen."""
    optimizer = SGD(tiny.head.parameters(), lr=0.1)
    assert_refused(tiny, "SGD does not hold features.conv1.conv.weight", optimizer=optimizer)
    assert_refused(tiny, "or freeze what it must not train: requires_grad_(False)", optimizer=optimizer)
    tiny.features.requires_grad_(False)
    before = copy.deepcopy(dict(tiny.named_parameters()))
    iz.fit(tiny, DATA, epochs=2, optimizer=optimizer)
    changed = {name for name, value in tiny.named_parameters() if not value.equal(before[name])}
    assert changed == {"head.fc.weight", "head.fc.bias"}


def test_the_recipe_does_not_move_frozen_parameters(tiny):
    """Neither weight decay nor momentum moves them, although they have a gradient from before."""
    tiny.train()(DATA[0][0]).sum().backward()
    tiny.features.conv1.requires_grad_(False)
    before = tiny.features.conv1.conv.weight.clone()
    iz.fit(tiny, DATA, epochs=3, weight_decay=0.5)
    assert tiny.features.conv1.conv.weight.equal(before)


def test_a_model_without_trainable_parameters(tiny):
    tiny.requires_grad_(False)
    assert_refused(tiny, "model has no parameter to train")


def test_freeze_epochs_of_a_frozen_classifier(tiny):
    tiny.get_classifier().requires_grad_(False)
    text = "freeze_epochs=1 trains only the classifiers, and their parameters have requires_grad=False; call model.get_clas"
    assert_refused(tiny, text, freeze_epochs=1)


def test_parameters_of_the_loss_may_be_in_the_optimizer(tiny):
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(self.scale * logits, targets)

    loss = Scaled()
    iz.fit(tiny, DATA, epochs=1, loss=loss, optimizer=SGD([*tiny.parameters(), *loss.parameters()], lr=0.1))
    assert loss.scale != 1


def test_a_schedule_of_another_optimizer(tiny):
    first, second = (SGD(tiny.parameters(), lr=0.1) for _ in range(2))
    assert_refused(tiny, "scheduler: StepLR is of another optimizer", optimizer=first, scheduler=StepLR(second, 1))


class NeedsClosure(Optimizer):
    def __init__(self, parameters: object) -> None:
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure):
        closure()


@pytest.mark.parametrize("kind", [LBFGS, NeedsClosure])
def test_optimizers_that_need_a_closure(tiny, kind):
    assert_refused(tiny, f"optimizer: {kind.__name__} calls a closure several times", optimizer=kind(tiny.parameters()))


def test_sparse_adam(tiny):
    assert_refused(tiny, "SparseAdam needs sparse gradients", optimizer=SparseAdam(list(tiny.parameters())))


def test_freeze_up_to_a_stage(tiny):
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    optimizer = SGD([*tiny.features.block.parameters(), *tiny.head.parameters()], lr=0.1)
    for options in ({}, {"optimizer": optimizer}):
        iz.fit(tiny, DATA, epochs=2, freeze_up_to="conv1", **options)
        changed = {key for key, value in tiny.state_dict().items() if not value.equal(before[key])}
        assert {key for key in before if key.startswith("features.conv1.")} & changed == set()
        assert {"features.block.branch1.conv.weight", "features.block.branch1.bn.running_mean", "head.fc.weight"} <= changed
    assert all(parameter.requires_grad for parameter in tiny.parameters())
    assert tiny.features.conv1.bn.training
    before = {key: value.clone() for key, value in tiny.features.state_dict().items()}
    iz.fit(tiny, DATA, epochs=1, freeze_up_to="block")
    assert all(value.equal(before[key]) for key, value in tiny.features.state_dict().items())
    assert_refused(tiny, "freeze_up_to='blok' must be one of 'conv1', 'block'; did you mean 'block'?", freeze_up_to="blok")


def test_a_compiled_model(make, tmp_path):
    plain, compiled = make(), make()
    calls = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        calls.append(len(graph.graph.nodes))
        return graph.forward

    history = iz.fit(torch.compile(compiled, backend=backend), DATA, DATA, epochs=2, out=tmp_path)
    expected = iz.fit(plain, DATA, DATA, epochs=2)
    assert calls
    for row, other in zip(history.epochs, expected.epochs, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-5)
    assert iz.load_model(tmp_path / "best.safetensors").num_classes == 2
    torch.compiler.reset()


def test_a_compiled_model_with_auxiliary_heads(register):
    side = iz.Aux("conv1", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2))
    register("with_side", iz.network(conv1=iz.Conv(4, 3), aux=(side,)), num_classes=2, input_size=(3, 8, 8))
    model = torch.compile(iz.with_aux(iz.create_model("with_side")), backend="eager")
    assert_refused(model, "model is compiled, and torch.compile leaves out its auxiliary heads")


def test_a_wrapped_model(tiny):
    for wrapped in (nn.DataParallel(tiny), nn.DataParallel(torch.compile(tiny, backend="eager"))):
        with pytest.raises(iz.ArgumentError, match=r"fit takes a model of .*; pass the model in it: model\.module"):
            iz.fit(wrapped, DATA, epochs=1)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (lambda result: result.f1, "AttributeError"),
        (lambda result: result.probabilities[0], ""),
        (lambda result: result.sensitivity(0.9), "ArgumentError: sensitivity: the model has 3 classes"),
    ],
    ids=["no such attribute", "several numbers", "two classes only"],
)
def test_a_metric_that_cannot_be_computed(tiny, metric, text):
    tiny.reset_classifier(3)
    assert_refused(tiny, f"metrics: 'own' cannot be computed: {text}", val=DATA, metrics={"own": metric})


def test_a_metric_that_fails_later(make, tmp_path):
    def metric(result: iz.Result) -> float:
        calls.append(1)
        if len(calls) == 3:  # the trial, the first epoch, the second
            raise KeyError("x")
        return 0.25

    calls: list[int] = []
    options = {"epochs": 3, "metrics": {"own": metric}, "out": tmp_path}
    with pytest.raises(iz.TrainingError, match="metrics: 'own' cannot be computed: KeyError: 'x'"):
        iz.fit(make(), DATA, DATA, **options)
    history = iz.fit(make(), DATA, DATA, **options)
    assert [math.isnan(row["val_own"]) for row in history.epochs] == [False, True, False]


class Temperature(nn.Module):
    """A loss with a parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(logits * self.scale, targets)


def test_the_parameters_of_a_loss_need_an_optimizer_that_holds_them(tiny):
    loss = Temperature()
    assert_refused(
        tiny, "Temperature has parameters to train, scale; pass an optimizer of [*model.parameters(), *loss", loss=loss
    )
    alone = SGD(tiny.parameters(), lr=0.1)
    assert_refused(tiny, "SGD does not hold scale of loss=Temperature; pass an optimizer of", optimizer=alone, loss=loss)
    assert_refused(tiny, "or freeze those of the loss: loss.requires_grad_(False)", optimizer=alone, loss=loss)
    iz.fit(tiny, DATA, epochs=1, optimizer=SGD([*tiny.parameters(), *loss.parameters()], lr=0.1), loss=loss)
    assert loss.scale != 1
    frozen = Temperature().requires_grad_(False)
    iz.fit(tiny, DATA, epochs=1, loss=frozen)
    assert frozen.scale == 1


def test_resuming_restores_the_loss(make, tmp_path):
    """A parameter of the loss and its buffer, which counts the batches, go on where they stopped."""

    def run(out: str, last: int) -> tuple[float, float, list[float]]:
        model, loss = make(), Temperature()
        optimizer = SGD([*model.parameters(), *loss.parameters()], lr=0.5)

        def stop(_: iz.Net, row: dict[str, float]) -> None:
            if row["epoch"] == last:
                raise StopIteration

        iz.fit(model, DATA, epochs=4, optimizer=optimizer, loss=loss, out=tmp_path / out, callbacks=[stop])
        return float(loss.scale.detach()), float(loss.calls), model.head.fc.weight.flatten().tolist()

    whole = run("a", 9)
    run("b", 1)
    assert run("b", 9) == whole
    assert whole[1] == 4


def test_a_callback_cannot_unfreeze_what_the_optimizer_does_not_hold(tiny):
    tiny.features.requires_grad_(False)
    optimizer, rows = SGD(tiny.head.parameters(), lr=0.1), []
    with pytest.raises(iz.ArgumentError, match=r"SGD does not hold features.conv1.conv.weight, "):
        iz.fit(
            tiny,
            DATA,
            epochs=4,
            optimizer=optimizer,
            callbacks=[lambda _, row: rows.append(row), lambda model, _: model.requires_grad_(True)],
        )
    assert len(rows) == 1


class RelativeStep(SGD):
    """An optimizer without a learning rate, as Adafactor is by default in timm and transformers."""

    def __init__(self, parameters: object) -> None:
        super().__init__(parameters, lr=0.1)
        self.param_groups[0] |= {"lr": None, "momentum": None}

    def step(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.data -= 0.1 * parameter.grad


def test_an_optimizer_without_a_rate(tiny, tmp_path, capsys):
    history = iz.fit(tiny, DATA, epochs=2, optimizer=RelativeStep(tiny.parameters()), out=tmp_path)
    assert all(math.isnan(row["lr"]) for row in history.epochs)
    assert history.epochs[1]["loss"] < history.epochs[0]["loss"]
    assert "tiny: RelativeStep, lr nan, weight_decay 0" in capsys.readouterr().err


class ScheduleFree(SGD):
    """An optimizer of which the model has other weights in evaluation than in training, as those of schedulefree."""

    def __init__(self, parameters: object) -> None:
        super().__init__(parameters, lr=0.1)
        self.training = False

    def train(self) -> None:
        self._switch(training=True)

    def eval(self) -> None:
        self._switch(training=False)

    def _switch(self, *, training: bool) -> None:
        if self.training is not training:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data += 1 if training else -1
        self.training = training

    def step(self) -> None:
        if not self.training:
            raise RuntimeError("Optimizer was not in train mode when step is called.")
        super().step()


def test_an_optimizer_with_modes_is_in_that_of_the_model(make):
    model, trained, validated = make(), [], []
    optimizer = ScheduleFree(model.parameters())
    model.register_forward_pre_hook(lambda module, _: (trained if module.training else validated).append(optimizer.training))
    iz.fit(model, DATA, DATA, epochs=2, optimizer=optimizer)
    assert trained == [True, True]
    assert set(validated) == {False}
    assert not optimizer.training
