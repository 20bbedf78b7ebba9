"""A network as JSON values: equal when it is read back, and checked as data from a stranger."""

import copy
import json
import random
import tracemalloc

import hypothesis
import pytest
from hypothesis import strategies as st
from torch import nn

import inceptionzoo as iz
from inceptionzoo.spec import _serialization as serialization
from inceptionzoo.spec import first_difference, make_network, network_from_json, network_to_json
from inceptionzoo.zoo import find_entry

VARIANTS = [
    {},
    {"padding": "same"},
    {"padding": "valid"},
    {"include_pad": False, "ceil_mode": "pad"},
    {"output_stride": 8, "padding": "same"},
    {"act_layer": "silu", "norm_layer": "groupnorm"},
    {"norm_layer": "layernorm2d"},
    {"drop_path_rate": 0.2},
]
HEADS = [("vgg11", {"head": "conv"}), ("vgg16_bn", {"head": "pool"}), ("googlenet_paper", {"pools": "valid"})]


def copied(network: iz.Network) -> iz.Network:
    """Return the network, written as text and read back."""
    return network_from_json(json.loads(json.dumps(network_to_json(network), sort_keys=True)))


@pytest.mark.parametrize("name", iz.list_models())
def test_every_model_and_variant_is_equal_when_read_back(name):
    count = 0
    for arguments in VARIANTS:
        try:
            network = make_network(find_entry(name), arguments)
        except iz.ArgumentError:  # this variant does not fit this model
            continue
        assert copied(network) == network
        count += 1
    assert count >= 6


@pytest.mark.parametrize(("name", "arguments"), HEADS, ids=str)
def test_a_models_own_arguments_are_kept(name, arguments):
    network = make_network(find_entry(name), arguments)
    assert copied(network) == network != make_network(find_entry(name), {})


# --- random networks -----------------------------------------------------------------------------------------------------
SMALL, FLAGS, RATES = st.integers(1, 9), st.booleans(), st.floats(0, 0.875)
SIZES = SMALL | st.tuples(SMALL, SMALL)
PADDINGS = st.sampled_from(["half", "valid"])
CONVS = st.builds(
    iz.Conv, SMALL, SIZES, SMALL, PADDINGS, dilation=SMALL, norm=FLAGS, act=FLAGS, bias=st.none() | FLAGS
)  # fmt: skip
DEPTHWISE = st.builds(iz.Depthwise, SIZES, SMALL, PADDINGS, multiplier=SMALL, dilation=SMALL, bias=FLAGS)
POOLS = st.builds(
    iz.Pool, st.sampled_from(["max", "avg", "adaptive_avg"]), SIZES, SMALL, PADDINGS, ceil=FLAGS, include_pad=FLAGS
)
NORMS = st.builds(iz.Norm, st.sampled_from(["style", "lrn"]), size=SMALL, alpha=RATES, beta=st.integers(0, 3), k=RATES)
NAMES = st.text("abcXYZ_01", min_size=1, max_size=5)


def containers(layers):
    branches = st.dictionaries(NAMES, layers, min_size=1, max_size=3).map(lambda branches: iz.concat(**branches))
    chains = st.lists(layers, min_size=2, max_size=3).map(lambda steps: iz.chain(*steps))
    residuals = st.builds(
        iz.Residual, layers, scale=RATES, project=FLAGS, shortcut=st.none() | layers, act=FLAGS, drop_path=RATES
    )
    return branches | chains | residuals


LAYERS = st.recursive(CONVS | DEPTHWISE | POOLS | NORMS | st.builds(iz.Act), containers, max_leaves=5)
HEAD = st.builds(iz.Head, drop_rate=RATES) | st.builds(
    iz.Head, st.sampled_from(["mlp", "conv"]), st.lists(SMALL, min_size=1, max_size=3).map(tuple), SMALL, RATES
)
STYLES = st.builds(
    iz.Style, st.sampled_from(["batch", "group", "layer", None]), st.floats(1e-6, 1), FLAGS, st.sampled_from(["relu", "mish"])
)


@st.composite
def networks(draw):
    stages = draw(st.dictionaries(NAMES, LAYERS, min_size=1, max_size=4))
    aux = draw(
        st.lists(
            st.builds(iz.Aux, st.sampled_from(sorted(stages)), LAYERS, HEAD, RATES), max_size=2, unique_by=lambda aux: aux.tap
        ).map(tuple)
    )
    return iz.network(stages, head=draw(HEAD), style=draw(STYLES), aux=aux)


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(networks())
def test_random_networks_are_equal_when_read_back(network):
    assert copied(network) == network
    assert network_to_json(copied(network)) == network_to_json(network)


@hypothesis.settings(max_examples=10, deadline=None, derandomize=True)
@hypothesis.given(networks(), networks())
def test_a_difference_is_found_where_there_is_one(first, second):
    assert (first_difference(first, second) == "") == (first == second)


def test_a_difference_names_the_place():
    def network(kernel: object, name: str = "b", **style: object) -> iz.Network:
        return iz.network(a=iz.Act(), **{name: iz.concat(x=iz.chain(iz.Conv(4), iz.Conv(4, kernel)))}, style=iz.Style(**style))

    assert first_difference(network(3), network(3)) == ""
    assert first_difference(network((1, 3)), network((1, 5))) == "stages.b.branches.x.layers.1.kernel.1: 3 and 5"
    assert first_difference(network(3), network((3, 3))) == "stages.b.branches.x.layers.1.kernel: 3 and (3, 3)"
    assert first_difference(network(3), network(3, name="c")) == "stages.b: 'b' and 'c'"
    assert first_difference(network(3), network(3, act="silu")) == "style.act: 'relu' and 'silu'"


# --- what cannot be written ----------------------------------------------------------------------------------------------
class Wide(iz.Conv):
    """A class of the user's own."""


def nested(depth: int) -> iz.Layer:
    layer: iz.Layer = iz.Conv(4)
    for _ in range(depth):
        layer = iz.Residual(layer)
    return layer


UNWRITABLE = {
    "an Op": (iz.network(a=iz.chain(iz.Conv(3), iz.Op(nn.Identity, 3))), r"^stages\.a\.layers\.1=Op.* is code"),
    "a class as activation": (iz.network(a=iz.Conv(3), style=iz.Style(act=nn.GELU)), r"^style\.act=.*GELU.* is code"),
    "a class as normalisation": (iz.network(a=iz.Conv(3), style=iz.Style(norm=nn.BatchNorm2d)), r"^style\.norm=.* is code"),
    "a subclass of a layer": (iz.network(a=Wide(3)), r"^stages\.a=Wide.* a type of your own"),
    "a deep nest": (iz.network(a=nested(200)), r"nested more than 100 deep"),
    "many layers": (iz.network(a=iz.chain(*[iz.Conv(3)] * 6000)), "may have 50000 values.* this one is larger"),
    "a long name": (iz.network({"a" * 201: iz.Conv(3)}), "has 201 characters; a text has at most 200"),
}


@pytest.mark.parametrize(("network", "text"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_is_not_plain_data_is_refused_by_its_path(network, text):
    with pytest.raises(iz.SpecError, match=text):
        network_to_json(network)


# --- reading what a stranger wrote ---------------------------------------------------------------------------------------
NETWORK = iz.network(
    conv1=iz.Conv(4, (1, 7)),
    mixed=iz.concat(x=iz.chain(iz.Depthwise(), iz.Norm("lrn")), y=iz.Pool("max")),
    res=iz.Residual(iz.Conv(4)),
    aux=(iz.Aux("mixed", iz.Pool("adaptive_avg", 2), iz.Head("mlp", (3,), 2)),),
)
WRONG = [
    ("stages.0.1.kernel", "abc", r"stages\.conv1\.kernel='abc' must be of type int or a list"),
    ("stages.0.1.kernel", [1, 2, 3], r"conv1: kernel=\(1, 2, 3\) has 3 numbers, and spatial_dims=2 needs 2"),
    ("stages.0.1.kernel", [[1], 2], r"stages\.conv1\.kernel\.0=\[1\] must be of type int"),
    ("stages.0.1.kernel", 0, r"stages\.conv1: Conv: kernel=0 must be an int from 1"),
    ("stages.0.1.out", 4.0, r"stages\.conv1\.out=4\.0 must be of type int"),
    ("stages.0.1.out", True, r"stages\.conv1\.out=True must be of type int"),
    ("stages.0.1.out", None, r"stages\.conv1\.out=None must be of type int"),
    ("stages.0.1.out", 2**31, "stages.conv1: Conv: out=2147483648 must be an int from 1 to 2147483647"),
    ("stages.0.1.padding", "halff", "stages.conv1: Conv: padding='halff' must be one of"),
    ("stages.0.1.bias", 1, "stages.conv1.bias=1 must be of type bool or null"),
    ("stages.0.1.paddin", "half", r"stages\.conv1\.paddin is unknown; did you mean 'padding'\?"),
    ("stages.0.1.type", "Op", "stages.conv1.type='Op' must be one of Conv"),
    ("stages.0.1.type", "Style", "stages.conv1.type='Style' must be one of Conv"),
    ("stages.0.1.type", ["Conv"], "stages.conv1.type=.* must be one of Conv"),
    ("stages.0.1", None, "stages.conv1=None must be an object"),
    ("stages.0.0", 3, "stages.0.0=3 must be of type str"),
    ("stages.0.0", "mixed", "stage 'mixed' appears twice"),
    ("stages.0", ["a"], "stages.0=.* must be a list of 2"),
    ("stages", {}, "stages.type=None must be one of none"),
    ("stages.1.1.branches", [], "Concat.* needs at least one layer"),
    ("stages.1.1.branches.1.0", "x", "stages.mixed: Concat: branches=.* of different names"),
    ("stages.1.1.branches.0.1.layers", [], r"stages\.mixed\.branches\.x: Chain.* needs at least one layer"),
    ("stages.1.1.branches.1.1.ceil", "x", "stages.mixed.branches.y: Pool: ceil='x' must be True or False"),
    ("stages.2.1.scale", float("nan"), "stages.res: Residual: scale=nan must be a finite number"),
    ("stages.2.1.drop_path", 1, "stages.res: drop_path=1 must be a number with 0 <= drop_path < 1"),
    ("style.act", "os.system", "style: act='os.system' must be one of 'relu'"),
    ("style.norm", ["batch"], "style.norm=.* must be 'batch' or 'group' or 'layer' or null"),
    ("style.act", "x" * 201, r"style\.act=.* has 201 characters; a text has at most 200"),
    ("head.hidden", 3, "head.hidden=3 must be a list"),
    ("head.hidden", [3], "head: .* 'pool' takes none"),
    ("head", None, "head=None must be an object"),
    ("aux.0.tap", "z", "aux tap 'z' must be one of the stages"),
    ("aux.0.head.type", "Network", "aux.0.head.type='Network' must be one of Head"),
    ("taps", ["z"], r"taps=\('z',\) must be a tuple of stages"),
    ("type", "Conv", "type='Conv' must be one of Network"),
    ("more", 1, r"^more is unknown"),
]


def edited(path: str, value: object) -> object:
    """Return the data of NETWORK with one value replaced; `path` has the names and indices of JSON."""
    data = network_to_json(NETWORK)
    *path_to, last = (int(part) if part.isdigit() else part for part in path.split("."))
    target = data
    for part in path_to:
        target = target[part]
    target[last] = value
    return data


@pytest.mark.parametrize(("path", "value", "text"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_value_is_refused_by_its_path(path, value, text):
    with pytest.raises(iz.SpecError, match=text):
        network_from_json(edited(path, value))


@pytest.mark.parametrize("kind", sorted(serialization.TYPES))
def test_every_key_is_needed(kind):
    def objects(value):
        if isinstance(value, dict):
            yield value
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from objects(child)

    network = iz.network(dict(NETWORK.stages), last=iz.Act(), aux=NETWORK.aux)
    keys = next(set(values) - {*serialization.ADDED} for values in objects(network_to_json(network)) if values["type"] == kind)
    for key in sorted(keys):
        data = network_to_json(network)
        del next(values for values in objects(data) if values["type"] == kind)[key]
        with pytest.raises(iz.SpecError, match=f"{key}( is missing|=None must be one of)"):
            network_from_json(data)


@pytest.mark.parametrize("data", [None, 3, "x", [], {}, {"type": "Network"}, {"type": []}, [[]]], ids=str)
def test_what_is_no_network_is_refused(data):
    empty = network_to_json(iz.network(a=iz.Conv(4))) | {"stages": []}
    with pytest.raises(iz.SpecError, match="stages must not be empty"):
        network_from_json(empty)
    with pytest.raises(iz.SpecError):
        network_from_json(data)


def test_data_that_is_too_large_or_too_deep_is_refused_before_it_is_decoded(monkeypatch):
    data = network_to_json(NETWORK)
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    monkeypatch.setattr(serialization, "_decode", None)
    for value in (deep, [[]] * 50_000, {str(index): None for index in range(50_000)}, [[[]] * 300] * 300):
        with pytest.raises(iz.SpecError, match="may have 50000 values, nested 100 deep"):
            network_from_json(data | {"stages": value})


ODD = [None, True, False, 0, 1, -1, 3, 2**31, 10**400, 0.5, -1.0, float("nan"), float("inf"), "", "x", "half", "same", "relu"]
ODD += ["Conv", "Op", "Network", "__class__", "\ud800", "x" * 1000, [], [1], [1, 1], [[]], {}, {"type": "Act"}, {"type": "Op"}]


def mutated(data: object, pick: random.Random) -> object:
    """Return the data with one to three places changed: a value replaced, removed, renamed, doubled, or moved elsewhere."""
    data = copy.deepcopy(data)
    for _ in range(pick.randrange(1, 4)):
        places = [(data, key) for key in data]
        for container, key in places:  # grows while it is read
            value = container[key]
            if isinstance(value, dict | list):
                places += [(value, inner) for inner in (value if isinstance(value, dict) else range(len(value)))]
        container, key = pick.choice(places)
        other_container, other_key = pick.choice(places)
        value = pick.choice([*ODD, copy.deepcopy(other_container[other_key])])
        match pick.randrange(4):
            case 0 if len(data) > 1:
                del container[key]
            case 1 if isinstance(container, dict):
                container[pick.choice(["type", "x", "layers", "out", "kernel"])] = container.pop(key)
            case 2 if isinstance(container, list):
                container += [copy.deepcopy(container[key])] * pick.choice([1, 50])
            case _:
                container[key] = value
    return data


def test_2000_random_edits_give_a_network_or_our_error():
    """Each is refused with a SpecError, or read as a network that is written and read back as an equal one."""
    pick, original = random.Random(0), network_to_json(NETWORK)
    refused, longest = 0, ""
    for _ in range(2000):
        data = mutated(original, pick)
        try:
            network = network_from_json(data)
        except iz.SpecError as error:
            refused, longest = refused + 1, max(longest, str(error), key=len)
            continue
        network_to_json(network)  # raises if an equal network is not read back
    assert 200 < refused < 1990
    assert len(longest) < 3000


def test_reading_takes_little_memory():
    """Data of nearly the largest size, and data that is larger."""
    layers = [{"type": "Act"}] * 24_900
    accepted, refused = (edited("stages.1.1.branches.0.1.layers", layers * factor) for factor in (1, 3))
    tracemalloc.start()
    try:
        network_from_json(accepted)
        with pytest.raises(iz.SpecError, match="may have 50000 values"):
            network_from_json(refused)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20  # bytes
    finally:
        tracemalloc.stop()
