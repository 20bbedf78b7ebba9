"""Schedules of the user: by step or by epoch, with a metric, timm's, and lengths that do not fit."""

import warnings
from functools import partial

import pytest
import timm.scheduler
import torch
from helpers import noise
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

import inceptionzoo as iz

DATA = [(noise(4, 3, 8, 8, seed=index), torch.arange(4) % 2) for index in range(3)]


@pytest.fixture
def optimizer(tiny) -> Optimizer:
    return SGD(tiny.parameters(), lr=0.1)


def rates(model: iz.Net, optimizer: Optimizer, scheduler: object, epochs: int = 2, **options: object) -> list[float]:
    """Return the learning rate of each step, and the one after the training."""
    used: list[float] = []
    handle = optimizer.register_step_pre_hook(lambda *_: used.append(float(optimizer.param_groups[0]["lr"])))
    iz.fit(model, DATA, epochs=epochs, optimizer=optimizer, scheduler=scheduler, **options)
    handle.remove()
    return [*used, float(optimizer.param_groups[0]["lr"])]


def test_a_step_for_each_epoch_or_each_optimizer_step(tiny, optimizer):
    assert rates(tiny, optimizer, StepLR(optimizer, 1, 0.5)) == pytest.approx([0.1] * 3 + [0.05] * 3 + [0.025])
    optimizer = SGD(tiny.parameters(), lr=0.1)
    by_step = rates(tiny, optimizer, StepLR(optimizer, 1, 0.5), scheduler_step="step")
    assert by_step == pytest.approx([0.1 * 0.5**step for step in range(7)])
    optimizer = SGD(tiny.parameters(), lr=0.1)
    accumulated = rates(tiny, optimizer, StepLR(optimizer, 1, 0.5), scheduler_step="step", accumulate=2)
    assert accumulated == pytest.approx([0.1 * 0.5**step for step in range(5)])


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 3), (2, 2)], ids=["each batch", "two batches, the last alone"])
def test_one_cycle(tiny, optimizer, accumulate, steps):
    reference = SGD([torch.nn.Parameter(torch.zeros(()))], lr=0.1)
    expected, schedule = [], OneCycleLR(reference, max_lr=0.1, epochs=2, steps_per_epoch=steps)
    for _ in range(2 * steps):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        schedule.step()
    scheduler = OneCycleLR(optimizer, max_lr=0.1, epochs=2, steps_per_epoch=steps)
    assert rates(tiny, optimizer, scheduler, scheduler_step="step", accumulate=accumulate)[:-1] == expected
    assert scheduler.last_epoch == 2 * steps


def test_a_step_that_fp16_skips_is_no_step_of_the_schedule(tiny, optimizer):
    optimizer.register_step_pre_hook(lambda *_: None)
    scheduler = StepLR(optimizer, 1, 0.5)
    losses = iter([float("inf"), 1.0, 1.0])
    loss = lambda logits, targets: torch.nn.functional.cross_entropy(Scale.apply(logits, next(losses)), targets)  # noqa: E731
    iz.fit(tiny, DATA, epochs=1, optimizer=optimizer, scheduler=scheduler, scheduler_step="step", precision="fp16", loss=loss)
    assert scheduler.last_epoch == 2


class Scale(torch.autograd.Function):
    """Multiply the gradient by a factor."""

    @staticmethod
    def forward(context: object, x: torch.Tensor, factor: float) -> torch.Tensor:
        context.factor = factor
        return x.clone()

    @staticmethod
    def backward(context: object, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * context.factor, None


@pytest.mark.parametrize(
    ("mode", "monitor", "val", "column"),
    [
        ("min", "loss", None, "loss"),
        ("min", "accuracy", None, "loss"),  # a mode that does not fit the monitor: the loss
        ("min", "accuracy", DATA, "val_loss"),
        ("min", "-error", DATA, "val_error"),
        ("max", "auc", DATA, "val_auc"),
        ("max", "accuracy", None, "accuracy"),
    ],
)
def test_plateau_gets_the_monitored_column(tiny, optimizer, mode, monitor, val, column):
    scheduler = ReduceLROnPlateau(optimizer, mode=mode)
    seen, step = [], scheduler.step
    scheduler.step = lambda metric: (seen.append(metric), step(metric))
    metrics = {"error": lambda result: 1 - result.accuracy} if val else None
    history = iz.fit(tiny, DATA, val, epochs=2, optimizer=optimizer, scheduler=scheduler, monitor=monitor, metrics=metrics)
    assert seen == [row[column] for row in history.epochs]


def test_plateau_lowers_the_rate(tiny, optimizer):
    scheduler = ReduceLROnPlateau(optimizer, patience=1)
    metrics = {"patience": lambda result: 1.0}
    history = iz.fit(tiny, DATA, DATA, epochs=5, optimizer=optimizer, scheduler=scheduler, metrics=metrics, monitor="-patience")
    assert [row["lr"] for row in history.epochs] == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01])


def test_timm_schedules(tiny, optimizer):
    def make(optimizer: Optimizer, *, t_in_epochs: bool) -> timm.scheduler.StepLRScheduler:
        return timm.scheduler.StepLRScheduler(optimizer, decay_t=1, decay_rate=0.5, t_in_epochs=t_in_epochs)

    assert rates(tiny, optimizer, make(optimizer, t_in_epochs=True)) == pytest.approx([0.1] * 3 + [0.05] * 3 + [0.025])
    for unit in ("epoch", "step"):
        optimizer = SGD(tiny.parameters(), lr=0.1)
        by_step = rates(tiny, optimizer, make(optimizer, t_in_epochs=False), scheduler_step=unit)
        assert by_step == pytest.approx([0.1 * 0.5**step for step in range(7)])


def warmup(current: int, *, num_warmup_steps: int, num_training_steps: int = 0) -> float:
    return min(1.0, current / num_warmup_steps) if num_warmup_steps else 1.0


def lengths(total: int) -> dict[str, object]:
    """Return functions that make schedules of `total` steps."""
    return {
        "OneCycleLR": lambda optimizer: OneCycleLR(optimizer, 0.1, total),
        "CosineAnnealingLR": lambda optimizer: CosineAnnealingLR(optimizer, total),
        "CyclicLR": lambda optimizer: CyclicLR(optimizer, 0.01, 0.1, total // 2, total - total // 2, cycle_momentum=False),
        "PolynomialLR": lambda optimizer: PolynomialLR(optimizer, total),
        "ConstantLR": lambda optimizer: ConstantLR(optimizer, 0.5, total),
        "MultiStepLR": lambda optimizer: MultiStepLR(optimizer, [total]),
        "transformers": lambda optimizer: LambdaLR(optimizer, partial(warmup, num_warmup_steps=0, num_training_steps=total)),
        "SequentialLR": lambda optimizer: SequentialLR(
            optimizer, [LinearLR(optimizer, 0.5, total_iters=1), CosineAnnealingLR(optimizer, total - 1)], [1]
        ),
        "ChainedScheduler": lambda optimizer: ChainedScheduler(
            [ConstantLR(optimizer, 0.5, 1), CosineAnnealingLR(optimizer, total)]
        ),
        "timm": lambda optimizer: timm.scheduler.CosineLRScheduler(optimizer, t_initial=total),
    }


@pytest.mark.parametrize("kind", lengths(1))
def test_a_schedule_of_steps_that_is_stepped_by_epoch(tiny, optimizer, kind):
    """Six steps, two epochs."""
    before = tiny.head.fc.weight.clone()
    with pytest.raises(iz.ArgumentError, match=r"=\d, and fit steps it 2 times, once an epoch .*steps: 6") as error:
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=lengths(6)[kind](optimizer))
    remedy = "make it with t_in_epochs=False" if kind == "timm" else "pass scheduler_step='step'"
    assert remedy in str(error.value)
    assert tiny.head.fc.weight.equal(before)


@pytest.mark.parametrize("kind", ["OneCycleLR", "CosineAnnealingLR", "transformers", "SequentialLR", "ChainedScheduler"])
def test_a_schedule_of_epochs_that_is_stepped_by_step(tiny, optimizer, kind):
    with pytest.raises(iz.ArgumentError, match="fit steps it 6 times, once an optimizer step .*pass scheduler_step='epoch'"):
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=lengths(2)[kind](optimizer), scheduler_step="step")


@pytest.mark.parametrize("kind", lengths(1))
def test_a_schedule_that_fits(tiny, optimizer, kind):
    scheduler = lengths(2)[kind](optimizer)
    assert len(iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=scheduler).epochs) == 2


@pytest.mark.parametrize("kind", [kind for kind in lengths(1) if kind != "OneCycleLR"])
def test_a_schedule_that_is_too_long_warns(tiny, optimizer, kind):
    with pytest.warns(UserWarning, match="fit steps it 2 times, once an epoch .*(make it 2 long|use less than 2) or") as warned:
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=lengths(9)[kind](optimizer))
    assert warned[0].filename == __file__


def test_lengths_that_cannot_fit(tiny, optimizer):
    for total in (5, 9):
        scheduler = OneCycleLR(optimizer, 0.1, total)
        with pytest.raises(iz.ArgumentError, match=f"OneCycleLR has total_steps={total}.*steps: 6.; make it 6 long"):
            iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=scheduler, scheduler_step="step")
    with pytest.warns(UserWarning, match="CosineAnnealingLR has T_max=1"):  # it rises again
        iz.fit(tiny, DATA, epochs=3, optimizer=optimizer, scheduler=CosineAnnealingLR(optimizer, 1))
    optimizer = SGD(tiny.parameters(), lr=0.1)
    with warnings.catch_warnings():  # a warm-up may end before the training
        warnings.simplefilter("error")
        iz.fit(tiny, DATA, epochs=3, optimizer=optimizer, scheduler=LinearLR(optimizer, 0.1, total_iters=2))
        scheduler = LinearLR(optimizer, 0.1, total_iters=3)  # three steps, and three epochs
        iz.fit(tiny, DATA, epochs=3, optimizer=optimizer, scheduler=scheduler, scheduler_step="step")


def test_a_schedule_that_has_begun_is_measured_from_there(tiny, optimizer):
    scheduler = CosineAnnealingLR(optimizer, 5)
    with pytest.warns(UserWarning, match="T_max=5, and fit steps it 2 times"):
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=scheduler)
    iz.fit(tiny, DATA, epochs=3, optimizer=optimizer, scheduler=scheduler)  # a warning would be an error
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0)


def test_a_rate_of_0_in_the_whole_first_epoch(tiny, optimizer):
    scheduler = LambdaLR(optimizer, partial(warmup, num_warmup_steps=2))
    with pytest.raises(iz.ArgumentError, match="LambdaLR keeps the learning rate 0 in the whole first epoch.*'step'"):
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=scheduler)
    iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=scheduler, scheduler_step="step")
    optimizer = SGD(tiny.parameters(), lr=0.1)
    slow = timm.scheduler.CosineLRScheduler(optimizer, t_initial=2, warmup_t=1)
    with pytest.raises(iz.ArgumentError, match="CosineLRScheduler keeps the learning rate 0 .* larger warmup_lr_init"):
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=slow)


@pytest.mark.filterwarnings("ignore:PlateauLRScheduler is deprecated")
def test_schedules_that_are_refused(tiny, optimizer):
    plateau = ReduceLROnPlateau(optimizer, mode="max")
    cosine = timm.scheduler.CosineLRScheduler(optimizer, t_initial=2)
    for options, text in (
        ({"scheduler": 7}, "scheduler=7 must be one of torch.optim.lr_scheduler or timm.scheduler"),
        ({"scheduler": StepLR}, "must be one of torch.optim.lr_scheduler or timm.scheduler"),
        ({"scheduler": timm.scheduler.CosineLRScheduler}, "must be one of torch.optim.lr_scheduler or timm.scheduler"),
        ({"scheduler": plateau, "monitor": "loss"}, "mode='max', and monitor='loss' is better the smaller it is"),
        ({"scheduler": plateau, "scheduler_step": "step"}, "ReduceLROnPlateau needs the metric of an epoch"),
        ({"scheduler": cosine, "scheduler_step": "step"}, "CosineLRScheduler has t_in_epochs=True"),
        ({"scheduler": timm.scheduler.PlateauLRScheduler(optimizer)}, "use torch's ReduceLROnPlateau"),
        ({"scheduler_step": "step"}, "scheduler_step='step' has no effect without a scheduler"),
        ({"scheduler_step": "batch"}, "scheduler_step='batch' must be one of 'epoch', 'step'"),
    ):
        with pytest.raises(iz.ArgumentError) as error:
            iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, **options)
        assert text in str(error.value)


def make_schedule(kind: str, optimizer: Optimizer) -> tuple[LRScheduler, dict[str, object]]:
    return {
        "OneCycleLR": (partial(OneCycleLR, max_lr=0.1, total_steps=12), {"scheduler_step": "step"}),
        "ReduceLROnPlateau": (partial(ReduceLROnPlateau, patience=0, threshold=10.0), {}),
        "timm by epoch": (partial(timm.scheduler.CosineLRScheduler, t_initial=4, lr_min=0.01), {}),
        "timm by step": (partial(timm.scheduler.CosineLRScheduler, t_initial=12, t_in_epochs=False), {}),
        "SequentialLR": (lengths(4)["SequentialLR"], {}),
    }[kind]


@pytest.mark.parametrize("kind", ["OneCycleLR", "ReduceLROnPlateau", "timm by epoch", "timm by step", "SequentialLR"])
def test_a_schedule_is_resumed(make, tmp_path, kind):
    def run(out: object, *callbacks: object) -> list[list[float]]:
        model = make()
        optimizer = SGD(model.parameters(), lr=0.1)
        build, options = make_schedule(kind, optimizer)
        iz.fit(
            model,
            DATA,
            epochs=4,
            optimizer=optimizer,
            scheduler=build(optimizer),
            out=out,
            seed=0,
            callbacks=callbacks,
            **options,
        )
        return [parameter.tolist() for parameter in (*model.parameters(), torch.tensor(optimizer.param_groups[0]["lr"]))]

    def interrupt(model: iz.Net, row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    expected = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", interrupt)
    assert run(tmp_path / "b") == expected


CONSTANT = {
    "StepLR has step_size=6": lambda optimizer: StepLR(optimizer, 6),
    "StepLR has step_size=30": lambda optimizer: StepLR(optimizer, 30),
    "StepLRScheduler has decay_t=8": lambda optimizer: timm.scheduler.StepLRScheduler(optimizer, 8, warmup_prefix=False),
    "MultiStepLRScheduler has decay_t=9": lambda optimizer: timm.scheduler.MultiStepLRScheduler(optimizer, [9, 12]),
}


@pytest.mark.parametrize("text", CONSTANT)
def test_a_rate_that_never_changes_warns(tiny, optimizer, text):
    remedy = "make it with t_in_epochs=False" if "Scheduler" in text else "pass scheduler_step='step'"
    with pytest.warns(UserWarning, match=f"{text}, and fit steps it 2 times.*the rate does not change; .*{remedy}"):
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=CONSTANT[text](optimizer))


def test_timm_lengths_with_a_warm_up_before_the_cycle(tiny, optimizer):
    """timm's own number of epochs, with the cool-down in which the rate is at its smallest, fits."""
    scheduler, epochs = timm.scheduler.create_scheduler_v2(
        optimizer, "cosine", num_epochs=2, warmup_epochs=1, cooldown_epochs=1, warmup_prefix=True, warmup_lr=0.01
    )
    assert epochs == 4
    assert rates(tiny, optimizer, scheduler, epochs=4)[::3] == pytest.approx([0.01, 0.1, 0.05, 0.0, 0.0])
    optimizer = SGD(tiny.parameters(), lr=0.1)
    long = timm.scheduler.CosineLRScheduler(optimizer, 2, warmup_t=2, warmup_lr_init=0.01, warmup_prefix=True)
    with pytest.warns(UserWarning, match=r"has warmup_t \+ t_initial=4, and fit steps it 2 times.*make it 2 long"):
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=long)
    optimizer = SGD(tiny.parameters(), lr=0.1)
    epochs_by_step = timm.scheduler.CosineLRScheduler(optimizer, 2, t_in_epochs=False)
    with pytest.raises(iz.ArgumentError, match="has t_initial=2, and fit steps it 6 times.*make it with t_in_epochs=True"):
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=epochs_by_step)


def test_a_schedule_that_is_at_its_end(tiny, optimizer):
    scheduler = CosineAnnealingLR(optimizer, 2)
    iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=scheduler)
    with (
        pytest.warns(UserWarning, match="T_max=0 left after the 2 that it has taken"),
        pytest.raises(
            iz.ArgumentError, match="no steps left after the 2 that it has taken: make a new optimizer and scheduler"
        ),
    ):
        iz.fit(tiny, DATA, epochs=2, optimizer=optimizer, scheduler=scheduler)
