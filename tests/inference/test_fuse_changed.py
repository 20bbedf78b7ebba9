"""fuse on models that were changed after they were built: the same outputs, or an error that names the part."""

import pytest
import torch
from helpers import distance, fill, noise, one_thread
from torch import nn
from torch.nn.utils import parametrize, prune

import inceptionzoo as iz

NETWORK = {
    "stem": iz.Conv(6, 3),
    "block": iz.inception(3, 3, 4, 2, 3, 2),
    "mean": iz.concat(a=iz.chain(iz.Pool("avg", 3), iz.Conv(4)), b=iz.Conv(4), c=iz.Conv(4), d=iz.Pool("max", 3)),
    "residual": iz.Residual(iz.chain(iz.Conv(4), iz.Conv(4, 3))),
    "pool": iz.Pool("max", 3, 2),
    "last": iz.Conv(5, 3),
}


@pytest.fixture
def model(register) -> iz.Net:
    register("changed", iz.network(NETWORK), num_classes=3, input_size=(3, 12, 12))
    return fill(iz.create_model("changed"), noise(8, 3, 12, 12))


class Sharper(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 1.5


def hook(name: str, kind: str = "register_forward_hook"):
    def add(model: iz.Net) -> None:
        function = (lambda module, x: (x[0] + 0.5,)) if "pre" in kind else (lambda module, x, y: y * 0.5)
        getattr(model.get_submodule(name), kind)(function)

    return add


def put(name: str, make):
    """Return a function that replaces the module `name` by `make(module)`."""

    def change(model: iz.Net) -> None:
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, make(model.get_submodule(name)).eval())

    return change


class AlwaysDrops(nn.Dropout):
    """Monte Carlo dropout, as users write it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return torch.nn.functional.dropout(x, self.p, training=True)


def reflecting(conv: nn.Conv2d) -> nn.Conv2d:
    conv.padding_mode = "reflect"
    return conv


def another_conv(conv: nn.Conv2d) -> nn.Conv2d:
    return Sharper(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding, bias=False)


KEPT = {  # the change, and the stage that is copied as it is
    "hook on a stage": (hook("features.block"), "block"),
    "hook on a convolution": (hook("features.stem.conv"), "stem"),
    "pre-hook on a normalisation": (hook("features.stem.bn", "register_forward_pre_hook"), "stem"),
    "hook on a branch": (hook("features.block.branch3"), "block"),
    "hook on a pool": (hook("features.mean.d"), "mean"),
    "hook on a pool stage": (hook("features.pool"), "pool"),
    "hook on a residual body": (hook("features.residual.body"), "residual"),
    "hook on the model": (hook(""), None),
    "hook on the head": (hook("head.fc"), None),
    "one activation of joined branches": (put("features.block.branch2.0.act", lambda _: nn.ELU()), "block"),
    "an activation behind a pool": (put("features.mean.a.1.act", lambda _: nn.Tanh()), "mean"),
    "another slope": (put("features.last.act", lambda _: nn.LeakyReLU(0.5)), "last"),
    "reflect padding": (put("features.stem.conv", reflecting), "stem"),
    "circular padding": (lambda model: setattr(model.features.last.conv, "padding_mode", "circular"), "last"),
    "a subclass of Conv2d": (put("features.stem.conv", another_conv), "stem"),
    "statistics of the batch": (put("features.stem.bn", lambda _: nn.BatchNorm2d(6, track_running_stats=False)), "stem"),
    "another epsilon": (lambda model: setattr(model.features.stem.bn, "eps", 0.3), "stem"),
    "another normalisation": (put("features.residual.body.0.bn", lambda _: nn.GroupNorm(2, 4)), "residual"),
    "another scale": (lambda model: setattr(model.features.residual, "scale", 0.25), "residual"),
    "another pool": (put("features.pool", lambda _: nn.AvgPool2d(3, 2, 1)), "pool"),
    "a wrapped stage": (put("features.block", lambda block: nn.Sequential(block, nn.Dropout2d(0.5), nn.Tanh())), "block"),
    "a stage of its own": (put("features.residual", lambda _: nn.Conv2d(24, 24, 3, padding=1)), "residual"),
    "no stage": (put("features.block", lambda _: nn.Conv2d(6, 12, 1)), "block"),
    "dropout in evaluation mode": (put("head.drop", lambda _: AlwaysDrops(0.5)), None),
    "a head of its own": (put("head.fc", lambda _: nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 2), nn.Tanh())), None),
}


@one_thread()
@pytest.mark.parametrize("case", KEPT)
def test_outputs_are_the_same(case, model):
    change, stage = KEPT[case]
    x, before = noise(2, 3, 12, 12), model(noise(2, 3, 12, 12))
    change(model)
    with torch.no_grad():
        expected, fast = model(x), iz.fuse(model)
        assert expected.shape != before.shape or distance(expected, before) > 1e-3  # the change matters
        for _ in range(2):  # recorded, then as a program
            assert distance(fast(x), expected) < 1e-5
        assert distance(iz.fuse(model, tune=False)(x), expected) < 1e-5
    kept = [name for name, part in fast.features.named_children() if type(part) is type(model.features.get_submodule(name))]
    assert kept == ([] if stage is None else [stage])


@one_thread()
def test_synchronised_batch_normalisation_is_folded(model):
    x, expected = noise(2, 3, 12, 12), model(noise(2, 3, 12, 12)).detach()
    fast = iz.fuse(nn.SyncBatchNorm.convert_sync_batchnorm(model))
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in fast.modules())
    assert distance(fast(x), expected) < 1e-5


def test_a_backward_hook_keeps_its_stage(model):
    seen = []
    model.features.block.register_full_backward_hook(lambda module, inputs, outputs: seen.append(module))
    fast = iz.fuse(model)
    fast(noise(2, 3, 12, 12).requires_grad_()).sum().backward()
    assert seen == [fast.features.block]


def prune_stem(model: iz.Net) -> None:
    prune.l1_unstructured(model.features.stem.conv, "weight", 0.3)
    model(noise(2, 3, 12, 12))


def parametrize_stem(model: iz.Net) -> None:
    parametrize.register_parametrization(model.features.stem.conv, "weight", nn.Identity())


REFUSED = {
    "hook on features": (hook("features"), "features has the hooks .*add"),
    "an extra stage": (lambda model: model.features.append(nn.ReLU()), "features.6 is not a part of the network"),
    "a missing stage": (lambda model: delattr(model.features, "last"), "features.last is missing"),
    "other features": (put("features", lambda stages: nn.Sequential(*stages)), "features is of type Sequential, not Steps"),
    "a method": (
        lambda model: setattr(model.features.block, "forward", lambda x: x),
        "features.block has a forward of its own",
    ),
    "a convolution that wraps around": (
        lambda model: setattr(model.features.stem.conv, "_conv_forward", lambda x, weight, bias: x),
        "features.stem.conv has a _conv_forward of its own",
    ),
    "a method of the model": (lambda model: setattr(model, "forward", lambda x: x), "the model has a forward of its own"),
    "pruned": (prune_stem, "cannot be copied: features.stem.conv is pruned.*; call torch.nn.utils.prune.remove"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_kept_is_refused(case, model):
    change, text = REFUSED[case]
    change(model)
    with pytest.raises(iz.ArgumentError, match=text):
        iz.fuse(model)
    with pytest.raises(iz.ArgumentError, match=text):
        iz.fuse(nn.ModuleList([model]))


@one_thread()
def test_a_parametrized_stage_is_kept(model):
    parametrize_stem(model)
    x = noise(2, 3, 12, 12)
    with torch.no_grad():
        assert distance(iz.fuse(model)(x), model(x)) < 1e-5


@one_thread()
@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_fx_traces_a_fused_model(register, act):
    register("traced", iz.network(NETWORK), num_classes=3, input_size=(3, 12, 12))
    fast, x = iz.fuse(fill(iz.create_model("traced", act_layer=act), noise(8, 3, 12, 12))), noise(2, 3, 12, 12)
    with torch.no_grad():
        assert distance(torch.fx.symbolic_trace(fast)(x), fast(x)) < 1e-5


def test_hooks_on_a_fused_model_keep_their_outputs(model):
    """Joined branches activate their output in place, unless a hook has it."""
    fast, kept = iz.fuse(model), []
    fast.features.block.first.conv.register_forward_hook(lambda module, x, y: kept.append((y, y.clone())))
    with torch.no_grad():
        fast(noise(2, 3, 12, 12))
    assert kept[0][0].equal(kept[0][1])
    assert kept[0][1].min() < 0


class Wrapper(nn.Module):
    """A module that refers to the stages of a model by two names, and to one stage by a third."""

    def __init__(self, model: iz.Net) -> None:
        super().__init__()
        self.model, self.body, self.stem = model, model.features, model.features.stem

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.head(self.body(x)) + self.stem(x).mean((1, 2, 3))[:, None]


@one_thread()
def test_a_module_that_refers_to_the_stages_twice(model):
    wrapper, x = Wrapper(model.train()), noise(2, 3, 12, 12)
    fast, before = iz.fuse(wrapper), [value.clone() for value in model.state_dict().values()]
    assert fast.body is fast.model.features
    assert all(part.training for part in model.modules())
    assert all(parameter.requires_grad and parameter.is_contiguous() for parameter in model.parameters())
    for parameter in fast.parameters():
        parameter.zero_()
    assert all(map(torch.equal, model.state_dict().values(), before))
    with torch.no_grad():
        assert distance(iz.fuse(wrapper)(x), wrapper.eval()(x)) < 1e-5


def on_both(name: str, attribute: str, value: object):
    """Return a function that sets an attribute of the modules `name` of a model and of its fused copy."""

    def change(model: iz.Net, fast: iz.Net) -> None:
        for root, path in ((model, name), (fast, FUSED_NAMES.get(name, name))):
            owner = root.get_submodule(path)
            setattr(owner, attribute, value(owner) if callable(value) and not isinstance(value, nn.Module) else value)

    return change


FUSED_NAMES = {"features.pool": "features.pool.pool"}
CHANGED_LATER = {
    "stride of a convolution": on_both("features.last.conv", "stride", (2, 2)),
    "dilation and padding of a convolution": lambda *models: [
        (setattr(conv, "dilation", (2, 2)), setattr(conv, "padding", (2, 2)))
        for conv in (model.features.last.conv for model in models)
    ],
    "stride of a pool": on_both("features.pool", "stride", 1),
    "an activation": on_both("features.stem", "act", nn.Tanh()),
    "forward of a stage": on_both("features.last", "forward", lambda _: lambda x: x[:, :5] * 2),
    "forward of an activation": on_both("features.last.act", "forward", lambda _: torch.tanh),
}


@one_thread()
@pytest.mark.parametrize("case", CHANGED_LATER)
def test_changes_of_a_fused_model_after_a_call(case, model):
    fast, x = iz.fuse(model), noise(2, 3, 12, 12)
    with torch.no_grad():
        fast(x), fast(x)
        CHANGED_LATER[case](model, fast)
        for _ in range(2):
            assert distance(fast(x), model(x)) < 1e-5


@one_thread()
def test_the_convolution_of_a_fused_model_is_replaced_on_one_instance(model):
    fast, x = iz.fuse(model), noise(2, 3, 12, 12)
    with torch.no_grad():
        before = fast(x)
        for name in ("forward", "_conv_forward"):
            setattr(fast.features.last.conv, name, lambda x, *_: x[:, :5])
            assert distance(fast(x), before) > 1e-3
            assert distance(fast(x), iz.inference.tuned(fast, False)(x)) < 1e-5
            iz.inference.tuned(fast)
            delattr(fast.features.last.conv, name)
        assert distance(fast(x), before) < 1e-5


def test_functional_call_of_a_fused_model(model):
    fast, x = iz.fuse(model), noise(2, 3, 12, 12)
    values = {name: value * 1.1 for name, value in fast.state_dict().items()}
    with torch.no_grad():
        before, found = fast(x), torch.func.functional_call(fast, values, (x,))
        assert distance(fast(x), before) < 1e-6
        fast.load_state_dict(values)
        assert distance(found, fast(x)) < 1e-5
