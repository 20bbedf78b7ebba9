"""fuse_convolutions: modules of other libraries, whose convolutions run as in fused models."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import inceptionzoo as iz
from inceptionzoo.inference import fuse, fuse_convolutions
from inceptionzoo.inference._modules import ConvAct


def with_statistics(module):
    """Return the module in evaluation mode, with random statistics and weights of batch normalisation."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.running_mean is not None:
            for values in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
                values.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def block(width, out):
    return nn.Sequential(nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def kinds(module):
    return [type(child) for child in module]


def distance(y, reference):
    return float((y - reference).detach().abs().max() / reference.detach().abs().max())


class Decoder(nn.Module):
    """An up-sampling decoder, as in a U-Net: it takes two maps, and returns a dict."""

    def __init__(self):
        super().__init__()
        self.wide, self.fine = block(16, 8), block(12, 8)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, maps):
        x = nn.functional.interpolate(self.wide(maps[1]), scale_factor=2)
        return {"masks": [self.last(self.fine(torch.cat([x, maps[0]], 1)))], "size": x.shape}


def test_a_decoder(monkeypatch):
    torch.manual_seed(0)
    decoder, maps = with_statistics(Decoder()).train(), [torch.randn(2, 4, 16, 12), torch.randn(2, 16, 8, 6)]
    keys, runs = list(decoder.state_dict()), []
    fused = fuse_convolutions(decoder, maps, cache=False)
    assert type(fused) is Decoder
    assert list(decoder.state_dict()) == keys
    assert decoder.training
    assert all(parameter.requires_grad for parameter in decoder.parameters())
    assert not fused.training
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    assert kinds(fused.wide) == kinds(fused.fine) == [ConvAct, nn.Identity, nn.Identity]
    expected = copy.deepcopy(decoder).eval()(maps)["masks"][0]
    original = ConvAct.implementation
    monkeypatch.setattr(ConvAct, "implementation", lambda self, x: runs.append(self) or original(self, x))
    with torch.no_grad():
        assert distance(fused(maps)["masks"][0], expected) < 1e-5
    assert runs == [fused.wide[0], fused.fine[0], fused.last]
    assert all(operation.tuned and not operation.cached for operation in runs)


def test_tuning_is_optional():
    fused = fuse_convolutions(with_statistics(block(4, 4)), torch.randn(1, 4, 8, 8), tune=False)
    assert not fused[0].tuned
    assert fused[0].cached


@pytest.mark.parametrize(
    ("layers", "fused"),
    [
        (lambda: [nn.Conv2d(4, 4, 1), nn.Identity(), nn.BatchNorm2d(4), nn.ReLU()], [ConvAct, *[nn.Identity] * 3]),
        (lambda: [nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)], [ConvAct, nn.Identity, nn.BatchNorm2d]),
        (lambda: [nn.Conv2d(4, 4, 1), nn.LeakyReLU(0.5, inplace=True)], [ConvAct, nn.LeakyReLU]),
        (lambda: [nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4), nn.ReLU()], [ConvAct, nn.GroupNorm, nn.ReLU]),
        (lambda: [nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)], [ConvAct, nn.BatchNorm2d]),
        (lambda: [nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.MaxPool2d(2)], [nn.BatchNorm2d, ConvAct, nn.MaxPool2d]),
        (lambda: [nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 1)], [nn.Conv2d, ConvAct]),
        (lambda: [nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)], [ConvAct, nn.Identity, nn.Identity]),
    ],
)
def test_layers_that_follow(layers, fused):
    torch.manual_seed(0)
    chain, x = with_statistics(nn.Sequential(*layers())), torch.randn(2, 4, 8, 8)
    copied = fuse_convolutions(chain, x, tune=False)
    assert kinds(copied) == fused
    assert distance(copied(x), chain(x)) < 1e-5


def test_layers_that_are_used_twice():
    torch.manual_seed(0)
    norm, conv, relu, x = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.ReLU(), torch.randn(2, 4, 8, 8)
    for layers in ([norm, conv, norm, nn.BatchNorm2d(4), relu, conv], [conv, relu, conv, relu], [conv, conv, norm]):
        chain = with_statistics(nn.Sequential(*layers))
        assert distance(fuse_convolutions(chain, x, tune=False)(x), chain(x)) < 1e-5


def test_signals():
    chain = with_statistics(nn.Sequential(nn.Conv1d(4, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU()))
    x = torch.randn(2, 4, 40)
    fused = fuse_convolutions(chain, x, cache=False)
    assert kinds(fused) == [ConvAct, nn.Identity, nn.Identity]
    assert distance(fused(x), chain(x)) < 1e-5


def test_what_was_changed_stays():
    torch.manual_seed(0)
    x, seen = torch.randn(1, 4, 8, 8), []
    chain = with_statistics(nn.Sequential(*block(4, 4), *block(4, 4), weight_norm(nn.Conv2d(4, 4, 1)), nn.Conv2d(4, 4, 1)))
    chain[1].register_forward_hook(lambda *_: seen.append(1))
    chain[3].register_forward_hook(lambda *_: seen.append(3))
    fused = fuse_convolutions(chain, x, tune=False)
    assert kinds(fused)[:7] == [ConvAct, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, type(chain[6])]
    assert isinstance(fused[7], ConvAct)
    seen.clear()
    assert distance(fused(x), chain(x)) < 1e-5
    assert seen == [1, 3] * 2


class Own(nn.Sequential):
    """A chain with a forward method of its own: the layers do not follow each other."""

    def forward(self, x):
        return self[2](self[0](x)) + self[1](x)


class ByParts(nn.Module):
    """A module that keeps a map between the layers of a chain."""

    def __init__(self):
        super().__init__()
        self.layers = block(4, 4)

    def forward(self, x):
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index == 0:
                first = x.clone()
        return first, x


class Reader(nn.Module):
    """A module that reads a weight."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.conv(x) * self.conv.weight.mean()


def test_chains_that_do_not_run_in_order():
    torch.manual_seed(0)
    x, own = torch.randn(1, 4, 8, 8), with_statistics(Own(*block(4, 4)))
    fused = fuse_convolutions(own, x, tune=False)
    assert kinds(fused) == [ConvAct, nn.BatchNorm2d, nn.ReLU]
    assert distance(fused(x), own(x)) < 1e-5
    patched = with_statistics(nn.Sequential(block(4, 4)))
    patched[0].forward = torch.sin
    assert kinds(fuse_convolutions(patched, x, tune=False)[0]) == [ConvAct, nn.BatchNorm2d, nn.ReLU]


def test_modules_that_use_single_layers_are_refused():
    x = torch.randn(1, 4, 8, 8)
    with pytest.raises(iz.ArgumentError, match=r"outputs of the fused ByParts differ by .* one by one; fuse other parts"):
        fuse_convolutions(with_statistics(ByParts()), x)
    with pytest.raises(iz.ArgumentError, match=r"the fused Reader fails: .*no attribute 'weight'; it may use"):
        fuse_convolutions(Reader(), x)


class Segmenter(nn.Module):
    """An encoder of this library and a decoder."""

    def __init__(self):
        super().__init__()
        self.encoder = iz.create_model("googlenet_cifar", features_only=True)
        self.decoder = block(1024, 2)

    def forward(self, x):
        return self.decoder(self.encoder(x)[-1])


def test_networks_of_this_library_stay_as_they_are():
    torch.manual_seed(0)
    model, x = with_statistics(Segmenter()), torch.randn(1, 3, 32, 32)
    alone = fuse_convolutions(model, x, tune=False)
    assert not any(isinstance(module, ConvAct) for module in alone.encoder.modules())
    both = fuse_convolutions(fuse(model, tune=False), x)
    assert both.encoder.fused
    assert not any(module.tuned for module in both.encoder.modules() if isinstance(module, ConvAct))
    for fused in (alone, both):
        assert kinds(fused.decoder) == [ConvAct, nn.Identity, nn.Identity]
        assert distance(fused(x), model(x)) < 1e-5
    with pytest.raises(iz.ArgumentError, match="module of type Segmenter has no convolution .* that can be fused"):
        fuse_convolutions(both, x)


@pytest.mark.parametrize(
    ("module", "inputs", "text"),
    [
        (3, (1,), "module of type int must be an nn.Module"),
        (torch.compile(nn.Conv2d(1, 1, 1)), (1,), "must be an nn.Module that is not compiled"),
        (nn.Conv2d(1, 1, 1), (), "inputs must be given, for example images"),
        (nn.Sequential(nn.Linear(2, 2)), (torch.ones(1, 2),), "module of type Sequential has no convolution"),
    ],
)
def test_errors(module, inputs, text):
    with pytest.raises(iz.ArgumentError, match=re.escape(text)):
        fuse_convolutions(module, *inputs)
    model = iz.create_model("googlenet_cifar")
    with pytest.raises(iz.ArgumentError, match=r"module of type Net is a network of this library: use fuse\(model\)"):
        fuse_convolutions(model, torch.ones(1, 3, 32, 32))
