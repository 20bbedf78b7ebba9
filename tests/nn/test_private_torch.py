"""Everything works with a torch that lacks one of the private names; no other module uses torch's private interface."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from inceptionzoo.nn import private_torch

PACKAGE = Path(private_torch.__file__).parents[1]
SCRIPT = Path(__file__).with_name("without_private_name.py")

MODULE_NAMES = [f"torch.nn.Module.{name}" for name in private_torch.MODULE_ATTRIBUTES]
ONEDNN_NAMES = private_torch.ONEDNN_NAMES if torch.backends.mkldnn.is_available() else ()
INFERENCE_NAMES = [name.replace(":", ".") for name in private_torch.INFERENCE_NAMES + ONEDNN_NAMES] + MODULE_NAMES
IS_FUNCTIONAL, OPENMP = private_torch.IS_FUNCTIONAL.replace(":", "."), "libtorch_cpu.GOMP_parallel"


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[str] | str]:
    """{name: the warnings of `fuse(model)(x)` in a process without this name, or the error of that process}."""
    command = [sys.executable, str(SCRIPT), *INFERENCE_NAMES, IS_FUNCTIONAL, OPENMP]
    result: dict[str, list[str] | str] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return result


def test_nothing_is_missing():
    assert private_torch.missing_names() == ()


@pytest.mark.parametrize("name", INFERENCE_NAMES)
def test_fused_models_use_public_operations_without_a_name(outcomes, name):
    assert outcomes[name] == [
        f"fuse: torch {torch.__version__} lacks {name}; the model runs by torch's own operations, which is slower"
    ]


def test_fused_models_work_without_the_check_for_functional_tensors(outcomes):
    assert outcomes[IS_FUNCTIONAL] == []


def test_fused_models_run_without_torchs_openmp(outcomes):
    (warning,) = outcomes[OPENMP]
    assert re.search("it needs llvmlite .* and torch's OpenMP", warning)


# --- no other module uses private names --------------------------------------------------------------------------------


def attribute_names(*objects: object) -> set[str]:
    return {name for each in objects for name in dir(each) if re.match(r"_[^_]", name)}


PRIVATE_ATTRIBUTES = attribute_names(nn.Module(), nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Sequential(), torch.ones(1))
PRIVATE_ATTRIBUTES |= {"_orig_mod", "_BatchNorm", "_current_level"}


def private_uses(source: str) -> Iterator[str]:
    """Yield the uses of torch's private names in a module: imports, dotted names, attributes, names given to getattr."""
    tree = ast.parse(source)
    from_torch = {"torch"}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.partition(".")[0] == "torch":
                        from_torch.add(alias.asname or "torch")
                        yield from private_parts(alias.name)
            case ast.ImportFrom(module=str(module), names=names, level=0) if module.partition(".")[0] == "torch":
                for alias in names:
                    from_torch.add(alias.asname or alias.name)
                    yield from private_parts(f"{module}.{alias.name}")
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in PRIVATE_ATTRIBUTES or (
                root_name(node) in from_torch and re.match(r"_[^_]", name)
            ):
                yield ast.unparse(node)
            case ast.Constant(value=str(name)) if name in PRIVATE_ATTRIBUTES:
                yield name


def private_parts(path: str) -> list[str]:
    return [path] if re.search(r"(^|\.)_[^_]", path) else []


def root_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch._C._get_tracing_state()",
        "import torch as t\nt.ops.mkldnn._convolution_pointwise",
        "from torch.utils._python_dispatch import TorchDispatchMode",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "import torch._dynamo",
        "from torch.autograd import forward_ad as ad\nad._current_level",
        "model.features._modules",
        "x._version",
        "getattr(model, '_orig_mod', model)",
    ],
)
def test_private_uses_are_found(source):
    assert list(private_uses(source))


def test_public_uses_are_allowed():
    source = "import torch\ntorch.__version__\nself._programs\nmodel.state_dict()\ntorch.jit.is_tracing()"
    assert not list(private_uses(source))


def test_no_other_module_uses_private_names():
    uses = {
        str(path.relative_to(PACKAGE)): found
        for path in PACKAGE.rglob("*.py")
        if path.name != "_private_torch.py" and (found := list(private_uses(path.read_text())))
    }
    assert not uses
