"""A fused model and torch.compile: which C++ compiler `fuse(compile=True)` looks for, and one graph for the whole model."""

import re
import shutil

import pytest
import torch
from helpers import noise, tiny_network

import inceptionzoo as iz


@pytest.mark.parametrize(("variable", "first"), [("/opt/own/cxx", "/opt/own/cxx"), (None, "g++")])
@pytest.mark.parametrize("found", [True, False])
def test_the_compiler_of_the_environment_is_looked_for_first(monkeypatch, variable, first, found):
    asked, compiled = [], []
    monkeypatch.setattr(shutil, "which", lambda name: asked.append(name) or ("/bin/any" if found else None))
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compiled.append(options))
    monkeypatch.delenv("CXX", raising=False)
    if variable:
        monkeypatch.setenv("CXX", variable)
    model = iz.build(tiny_network()).eval()
    if found:
        iz.fuse(model, compile=True)
        assert (asked, compiled) == ([first], [{"options": {"freezing": True}}])
    else:
        with pytest.warns(UserWarning, match=re.escape(f"no C++ compiler of {first}, c++, clang++ is found")):
            iz.fuse(model, compile=True)
        assert (asked, compiled) == ([first, "c++", "clang++"], [])


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_fused_model_is_one_graph(mode):
    fused, x = iz.fuse(iz.build(tiny_network()).eval()), noise(1, 3, 8, 8)
    torch.compiler.reset()
    with mode():
        expected = fused(x)
        compiled = torch.compile(fused, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(compiled, expected, rtol=1e-3, atol=1e-4)
