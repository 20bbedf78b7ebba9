"""ReLU and max pooling that save less for the backward pass: every value and gradient is bit-identical to torch's."""

import copy
import pickle

import pytest
import torch
from helpers import noise
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import grad, hessian, jvp, vmap
from torch.nn import functional as F

import inceptionzoo as iz
from inceptionzoo.nn import ConvNormAct, ResidualBlock
from inceptionzoo.nn._memory import compact_max_pool, masked_relu

POOLS = [(3, 2, 0, 1, True), (3, 1, 1, 1, False), ((2, 3), 2, (1, 0), 2, True)]
HOW = POOLS[0]


def lean(x):
    return compact_max_pool(masked_relu(x), HOW).square().sum()


def plain(x):
    return F.max_pool2d(F.relu(x), *HOW).square().sum()


@pytest.mark.parametrize("how", POOLS, ids=str)
@pytest.mark.parametrize("shape", [(2, 5, 13, 14), (5, 9, 9), (1, 2, 200, 200), (1, 1, 260, 260)], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
def test_outputs_and_gradients_equal_torchs(how, shape, layout):
    x = torch.randn(shape).round(decimals=1)  # with ties
    x = (x.to(memory_format=layout) if len(shape) == 4 else x).requires_grad_()
    for ours, theirs in ((compact_max_pool(x, how), F.max_pool2d(x, *how)), (masked_relu(x), x.relu())):
        assert ours.equal(theirs)
        assert ours.stride() == theirs.stride()
        tangent = torch.randn_like(ours)
        (a,), (b,) = torch.autograd.grad(ours, x, tangent), torch.autograd.grad(theirs, x, tangent)
        assert a.equal(b)
        assert a.stride() == b.stride()


def test_relu_passes_nan_and_its_gradient():
    x = torch.tensor([float("nan"), -1.0, 0.0, 2.0], requires_grad=True)
    for relu in (masked_relu, torch.relu):
        y = relu(x)
        assert y.isnan().tolist() == [True, False, False, False]
        assert torch.autograd.grad(y.sum(), x)[0].tolist() == [1, 0, 0, 1]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # raised inside torch's forward mode
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is not supported in Python 3.14:FutureWarning")  # torch's own call
def test_vmap_forward_mode_and_second_derivatives():
    x = torch.randn(4, 2, 3, 6, 6, dtype=torch.float64)
    assert vmap(grad(lean))(x).equal(vmap(grad(plain))(x))
    assert jvp(lean, (x[0],), (x[1],))[1].equal(jvp(plain, (x[0],), (x[1],))[1])
    assert hessian(lean)(x[0]).allclose(hessian(plain)(x[0]))
    one = x[0].requires_grad_()
    for function in (masked_relu, lambda x: compact_max_pool(x, HOW)):
        assert torch.autograd.gradcheck(function, one, check_batched_grad=True, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(function, one)


def ordinary(model):
    """Return a copy of the model that runs torch's own modules, with ReLUs in place."""
    model = copy.deepcopy(model)
    model.set_memory_saving(False)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return model


def kept(model, images):
    """Return the bytes that a forward pass saves, without the weights, and the gradients of the parameters."""
    weights = {value.untyped_storage().data_ptr() for value in model.parameters()}
    sizes, alive = {}, []

    def pack(value):
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            alive.append(value.detach())  # so that its address is not reused
            sizes[storage.data_ptr()] = storage.nbytes()
        return value

    with saved_tensors_hooks(pack, lambda value: value):
        loss = model(images).square().sum()
    loss.backward()
    return sum(sizes.values()), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize(("name", "most"), [("googlenet", 0.63), ("vgg11", 0.8), ("inception_v3", 0.9)])
def test_a_network_saves_less(name, most):
    torch.manual_seed(0)
    model = iz.create_model(name, num_classes=3, drop_rate=0.0).to(memory_format=torch.channels_last).train()
    images = noise(2, 3, 96, 96)
    (few, ours), (many, theirs) = kept(model, images), kept(ordinary(model), images)
    assert few < most * many
    assert all(a.equal(b) for a, b in zip(ours, theirs, strict=True))


def test_only_outputs_that_no_other_module_saves_become_masks():
    net = iz.build(
        iz.network(
            one=iz.Conv(4),
            two=iz.Conv(4),
            pool=iz.Pool("max", 2, 2),
            chained=iz.chain(iz.Conv(4), iz.Pool("max", 2, 2), iz.Conv(4)),
            both=iz.concat(a=iz.Conv(2), b=iz.chain(iz.Conv(2), iz.Conv(2, act=False)), c=iz.chain(iz.Conv(2), iz.Conv(2))),
            shortened=iz.Residual(iz.Conv(6)),
            last=iz.chain(iz.Pool("max", 2, 2)),
            mean=iz.Pool("avg", 2, 2),
        )
    )
    blocks = {name: module for name, module in net.named_modules() if isinstance(module, ConvNormAct | ResidualBlock)}
    found = {f"{name}.act" for name, module in blocks.items() if module.masked and module.act is not None}
    assert found == {
        "features.two.act",
        "features.chained.0.act",
        "features.both.a.act",
        "features.both.c.1.act",
        "features.shortened.act",
    }


def test_traced_pickled_and_without_gradients():
    net = iz.build(iz.network(one=iz.Conv(4, 3), pool=iz.Pool("max", 3, 2), two=iz.concat(a=iz.Conv(2), b=iz.Conv(2)))).train()
    x = noise(2, 3, 9, 9)
    expected = net(x)
    graph = torch.fx.symbolic_trace(net)
    assert graph(x).equal(expected)
    assert [node.name for node in graph.graph.nodes] == [node.name for node in torch.fx.symbolic_trace(net.eval()).graph.nodes]
    net.train()
    assert pickle.loads(pickle.dumps(net))(x).equal(expected)
    with torch.no_grad():
        assert net(x).equal(expected)
    net.requires_grad_(False)
    assert net(x).grad_fn is None
    assert net(x).equal(expected)


@pytest.mark.filterwarnings("ignore")  # torch.jit.trace is deprecated, and warns about torch's own code
def test_traced_by_jit_for_training(tmp_path):
    net = iz.build(iz.network(one=iz.Conv(4, 3), pool=iz.Pool("max", 3, 2))).train()
    x = noise(2, 3, 9, 9)
    traced = torch.jit.trace(net, x, check_trace=False)
    torch.jit.save(traced, tmp_path / "net.pt")
    loss = traced(x).square().sum()
    loss.backward()
    gradient = net.features.one.conv.weight.grad.clone()
    net.zero_grad()
    net(x).square().sum().backward()
    assert gradient.allclose(net.features.one.conv.weight.grad)


def test_a_users_activation_is_not_replaced():
    mine = nn.ReLU()
    block = iz.build(iz.concat(a=iz.Conv(2), b=iz.Conv(2)), 3, act=lambda: mine)
    assert block.a.act is block.b.act is mine
