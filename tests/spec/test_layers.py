"""Specifications of layers and networks: error messages; frozen, hashable and picklable; no import of torch."""

import ast
import dataclasses
import pickle
import re
from pathlib import Path

import pytest
from torch import nn

import inceptionzoo as iz
from inceptionzoo import Aux, Conv, Head, Norm, Op, Pool, Residual, Style, chain, concat, network

ONE = Conv(8)
AT_LEAST_1 = "must be an int from 1 to 2147483647"
KERNEL = "must be an int, or one to three ints: one per dimension"

# expression: part of the error message, with value and constraint
INVALID = {
    "Pool('max', 3, 3, ceil='pad')": "needs a max pool whose kernel is at least its stride and padding together",
    "Conv(0)": f"out=0 {AT_LEAST_1}",
    "Conv(-8)": f"out=-8 {AT_LEAST_1}",
    "Conv(True)": f"out=True {AT_LEAST_1}",
    "Conv(8.0)": f"out=8.0 {AT_LEAST_1}",
    "Conv('8')": f"out='8' {AT_LEAST_1}",
    "Conv(8, 0)": f"kernel=0 {AT_LEAST_1}",
    "Conv(8, '3')": "kernel='3' must be an int, or a tuple of one to three ints",
    "Conv(8, [3, 3])": "kernel=[3, 3] must be an int, or a tuple of one to three ints",
    "Conv(8, ())": f"kernel=() {KERNEL}",
    "Conv(8, (3, 3, 3, 3))": f"kernel=(3, 3, 3, 3) {KERNEL}",
    "Conv(8, (3, 0))": f"kernel=0 {AT_LEAST_1}",
    "Conv(8, 3, 0)": f"stride=0 {AT_LEAST_1}",
    "Conv(8, 3, (2, 0))": f"stride=0 {AT_LEAST_1}",
    "Conv(8, 3, padding='full')": "padding='full' must be one of 'half', 'same', 'valid'",
    "Conv(8, 3, padding=1)": "padding=1 must be one of",
    "Conv(8, 2, 3, 'same')": "padding='same' needs a kernel of one pixel, or one at least as large as the stride",
    "Conv(8, (1, 7), 2, 'same')": "padding='same' needs a kernel",
    "Conv(8, groups=0)": f"groups=0 {AT_LEAST_1}",
    "Conv(8, groups=3)": "norm=True, act=True, bias=None, min_channels=1): out must be divisible by groups",
    "Conv(8, norm='no')": "norm='no' must be",
    "Conv(8, act=None)": "act=None must be",
    "Conv(8, bias='no')": "bias='no' must be",
    "iz.Depthwise(0)": f"kernel=0 {AT_LEAST_1}",
    "iz.Depthwise(3, multiplier=0)": f"multiplier=0 {AT_LEAST_1}",
    "iz.Depthwise(2, 3, 'same')": "padding='same' needs a kernel",
    "iz.Depthwise(bias='no')": "bias='no' must be",
    "Pool('mean')": "kind='mean' must be one of 'max', 'avg', 'adaptive_avg'",
    "Pool('max', 0)": f"kernel=0 {AT_LEAST_1}",
    "Pool('max', (3,) * 4)": f"kernel=(3, 3, 3, 3) {KERNEL}",
    "Pool('max', 3, 0)": f"stride=0 {AT_LEAST_1}",
    "Pool('max', 3, 2, 1)": "padding=1 must be one of",
    "Pool('max', 2, 3, 'same')": "padding='same' needs a kernel",
    "Pool('avg', 3, 2, 'same')": "needs stride=1 and an odd kernel",
    "Pool('avg', 2, 1, 'same')": "needs stride=1 and an odd kernel",
    "Pool('max', ceil='no')": "ceil='no' must be",
    "Pool('avg', dilation=2)": "only a max pool can be dilated",
    "Pool('max', dilation=2)": "needs padding='same' or 'valid'",
    "Pool('max', dilation=0)": f"dilation=0 {AT_LEAST_1}",
    "Conv(8, dilation=0)": f"dilation=0 {AT_LEAST_1}",
    "Residual(ONE, drop_path=1.0)": "drop_path=1.0 must be a number with 0 <=",
    "Norm('batch')": "kind='batch' must be one of 'style', 'lrn'",
    "Norm('lrn', size=0)": f"size=0 {AT_LEAST_1}",
    "Norm('lrn', alpha='x')": "alpha='x' must be",
    "Norm('lrn', alpha=-1.0)": "alpha=-1.0 must be",
    "Norm('lrn', beta=None)": "beta=None must be",
    "Norm('lrn', k=float('nan'))": "k=nan must be",
    "Residual(None)": "body=None must be a layer",
    "Residual(ONE, shortcut=3)": "shortcut=3 must be a layer",
    "Residual(ONE, scale='x')": "scale='x' must be",
    "Op(nn.Identity, 0)": f"out=0 {AT_LEAST_1}",
    "Op(nn.Identity, 8, stride=0)": f"stride=0 {AT_LEAST_1}",
    "Op(3, 8)": "make=3, out=8, stride=1, cost=None): make must be callable",
    "Op(nn.Identity, 8, cost=5)": "cost=5 must be",
    "Op(nn.Identity, 8, cost=(-1, 2))": "cost=(-1, 2) must be",
    "chain()": "chain() needs at least one layer",
    "chain(ONE, None)": "chain: 1=None must be a layer, one of Conv, Depthwise, Pool, Norm, Act, Chain, Concat, Residual, Op",
    "concat()": "concat() needs at least one layer",
    "concat(left=ONE, right=8)": "concat: right=8 must be a layer, one of Conv, Depthwise, Pool",
    "network(a=ONE, style='relu', spatial_dims=1)": "style='relu' must be a Style",
    "iz.Network([('a', ONE)], iz.Head(), iz.Style(), ())": "must be a tuple of (name, layer); call network(NAME=layer)",
    "iz.Network((('a', ONE, 3),), iz.Head(), iz.Style(), ())": "must be a tuple of (name, layer); call network(NAME=layer)",
    "iz.Network((('a', ONE),), iz.Head(), iz.Style(), (), ('b',))": "taps=('b',) must be a tuple of stages: a",
    "network(a=ONE, aux=(iz.Aux('a', ONE, iz.Head()),) * 2)": "aux taps ['a', 'a'] must differ; a stage has at most one",
    "network()": "network() needs at least one stage",
    "network(conv=8)": "network: stage conv=8 must be a layer",
    "network({'a': ONE}, b=ONE, a=ONE)": "stage 'a' appears twice; give every stage its own name",
    "network(a=ONE, aux=(Aux('b', ONE, Head()),))": "aux tap 'b' must be one of the stages a",
    "network(a=ONE, aux=[Aux('a', ONE, Head())])": "aux=[",
    "network(7)": "network: 7 must be a mapping of names to layers",
    "network({7: ONE})": "the name of a stage=7 must be a string",
    "network({str(number): ONE for number in range(1001)})": "1001 stages must be at most 1000; combine layers with chain()",
    "network(a=ONE, head='')": "head='' must be a Head",
    "Aux(7, ONE, Head())": "tap=7 must be a string",
    "Aux('a', None, Head())": "layers=None must be a layer",
    "Aux('a', ONE, 'pool')": "head='pool' must be a Head",
    "Aux('a', ONE, Head(), float('nan'))": "weight=nan must be a finite number",
    "Conv(2**31)": f"out=2147483648 {AT_LEAST_1}",
    "Norm('lrn', k=10**400)": "must be a finite number of at least 0",
    "iz.Recipe(lr='1')": "lr='1' must be a finite number",
    "iz.Layout('theirs', (('a', 1),))": "prefixes=(('a', 1),) must be a tuple of pairs, (ours, theirs)",
    "iz.Layout('theirs', (), shapes=(('a', 1),))": "shapes=(('a', 1),) must be a tuple of pairs, (our key, their shape)",
    "network(a=ONE, head='mlp')": "head='mlp' must be",
    "network(a=ONE, norm='group')": "norm='group' is a field of Style and no stage; pass style=Style(norm=...)",
    "network(a=ONE, bias=True)": "bias=True is a field of Style and no stage; pass style=Style(bias=...)",
    "Op(nn.ReLU(), 8)": "Op: make=ReLU() is one module, and each layer needs its own; pass its class",
    "network(a=ONE, style='batch')": "style='batch' must be",
    "Head('dense', (8,))": "kind='dense' must be one of 'pool', 'mlp', 'conv'",
    "Head('pool', (8,))": "norm='batch'): a head of kind 'mlp', 'conv' or 'embed' needs at least one hidden layer",
    "Head('mlp')": "hidden=(), size=1, drop_rate=0.0, norm='batch'): a head of kind 'mlp', 'conv' or 'embed' needs",
    "Head('embed', (8, 8))": "a head of kind 'embed' has one hidden layer",
    "Head('embed', (8,), 7)": "on a pooled vector (size=1)",
    "Head('mlp', 8)": "hidden=8 must be",
    "Head('mlp', (8, 0))": f"in hidden=(8, 0), width=0 {AT_LEAST_1}",
    "Head('mlp', [8])": "hidden=[8] must be",
    "Head('mlp', (8,), 0)": f"size=0 {AT_LEAST_1}",
    "Head(drop_rate=1.0)": "drop_rate=1.0 must be a number with 0 <= drop_rate < 1",
    "Head(drop_rate=-0.1)": "drop_rate=-0.1 must be a number",
    "Head(drop_rate='x')": "drop_rate='x' must be a number",
    "Style('instance')": "norm='instance' must be one of 'batch', 'group', 'layer', None",
    "Style(eps=0)": "eps=0 must be above 0",
    "Style(eps=float('nan'))": "eps=nan must be a finite number of at least 0",
    "Style(eps='x')": "eps='x' must be",
    "Style(bias='no')": "bias='no' must be",
}
# names that torch's containers refuse, and names of their methods
BAD_NAMES = (
    *((network, name) for name in ("a.b", "", "append", "forward")),
    *((concat, name) for name in ("a.b", "", "keys", "forward")),
)
VALUES = (
    ONE,
    Conv(8, (1, 7), padding="same", groups=2, bias=True),
    Pool("max", 3, 2, "valid", ceil=True),
    Norm("lrn", k=2.0),
    chain(ONE, ONE),
    concat(a=ONE, b=Pool("avg")),
    Residual(ONE, scale=0.1, shortcut=ONE),
    Op(nn.Identity, 8, cost=(1, 2)),
    Style(None),
    Head("mlp", (8,), 7, 0.5),
    Aux("a", ONE, Head()),
    network(a=ONE, aux=(Aux("a", ONE, Head()),)),
    iz.inception(64, 96, 128, 16, 32, 32),
    iz.models.googlenet.googlenet(),
)
PACKAGE = Path(iz.__file__).parent
TORCHLESS = [PACKAGE / "errors.py", *sorted((PACKAGE / "spec").rglob("*.py")), *sorted((PACKAGE / "models").rglob("*.py"))]


@pytest.mark.parametrize("expression", INVALID)
def test_invalid_fields_are_refused(expression):
    with pytest.raises((iz.SpecError, iz.ArgumentError), match=re.escape(INVALID[expression])):
        eval(expression)


@pytest.mark.parametrize(("make", "name"), BAD_NAMES, ids=lambda each: getattr(each, "__name__", repr(each)))
def test_invalid_names_are_refused(make, name):
    with pytest.raises(iz.SpecError, match=re.escape(repr(name))):
        iz.build(make(**{name: ONE}), 3)


def test_chain_of_one_is_the_layer():
    assert chain(ONE) is ONE
    assert chain(ONE, ONE).layers == (ONE, ONE)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_frozen_hashable_picklable(value):
    again = pickle.loads(pickle.dumps(value))
    assert again == value
    assert hash(again) == hash(value)
    assert not hasattr(value, "__dict__")
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
        assert dataclasses.replace(value) == value


def test_different_values_are_unequal():
    assert len(set(VALUES)) == len(VALUES)
    assert concat(a=ONE, b=Pool("avg")) != concat(b=Pool("avg"), a=ONE)  # branches are in the order of the channels


@pytest.mark.parametrize("path", TORCHLESS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_does_not_import_torch(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert modules
    assert not {module.split(".")[0] for module in modules} & {"torch", "torchvision", "timm", "nn"}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: iz.Chain(()), "Chain.* needs at least one layer"),
        (lambda: iz.Chain([iz.Act()]), r"layers=\[Act\(\)\] must be a tuple of layers; use chain"),
        (lambda: iz.Chain((3,)), "Chain: 0=3 must be a layer"),
        (lambda: iz.Concat(()), "Concat.* needs at least one layer"),
        (lambda: iz.Concat(3), r"branches=3 must be pairs \(name, layer\) of different names; use concat"),
        (lambda: iz.Concat((("a", 3),)), "Concat: a=3 must be a layer"),
        (lambda: iz.Concat(((1, iz.Act()),)), "must be pairs"),
        (lambda: iz.Concat((("a", iz.Act()), ("a", iz.Conv(4)))), "branches=.* of different names"),
    ],
)
def test_chains_and_branches_are_checked(make, text):
    with pytest.raises(iz.SpecError, match=text):
        make()
