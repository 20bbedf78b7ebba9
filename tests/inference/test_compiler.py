"""`fuse(compile=True)`: which C++ compiler it looks for."""

import re
import shutil

import pytest
import torch
from helpers import tiny_network

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
