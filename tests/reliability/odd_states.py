"""Odd state dicts, which a model must refuse or load as they are: (state dict, random) -> the object to save."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
ODD_TENSORS: dict[str, Callable[[Tensor], object]] = {
    "expanded": lambda old: torch.ones(()).expand(old.shape),
    "expanded without end": lambda old: torch.ones(1).expand(2**40),
    "expanded in part": lambda old: torch.ones(1, *old.shape[1:]).expand(max(2, *old.shape, 0), *old.shape[1:]),
    "sparse": lambda old: old.float().to_sparse(),
    "sparse rows": lambda old: torch.eye(3).to_sparse_csr(),
    "quantized": lambda old: torch.quantize_per_tensor(old.float(), 0.1, 0, torch.qint8),
    "meta": lambda old: old.to("meta"),
    "complex": lambda old: old.to(torch.complex64),
    "negated view": lambda old: torch.complex(old.float(), old.float()).conj().imag,
    "half": lambda old: old.half(),
    "double": lambda old: old.double(),
    "too large a double": lambda old: old.double() * 1e300,
    "int": lambda old: old.int(),
    "bool": lambda old: old.bool(),
    "NaN": lambda old: old * float("nan"),
    "infinite": lambda old: old / 0.0,
    "negative": lambda old: -old,
    "one more": lambda old: torch.cat((old, old)) if old.ndim else old.reshape(1),
    "transposed": lambda old: old.transpose(0, -1) if old.ndim else old,
    "strided": lambda old: torch.stack((old, old), -1)[..., 0],
    "view": lambda old: torch.cat((old.flatten(), old.flatten()))[old.numel() :].reshape(old.shape),
    "parameter": lambda old: torch.nn.Parameter(old.float()),
    "channels_last": lambda old: old.contiguous(memory_format=torch.channels_last) if old.ndim == 4 else old,
    "empty": lambda old: old[:0] if old.ndim else torch.empty(0),
    "uninitialised": lambda old: torch.nn.UninitializedParameter(),
    "nested": lambda old: torch.nested.nested_tensor([old.float().flatten(), torch.ones(2)]),
    "storage": lambda old: old.untyped_storage(),
    "number": lambda old: 1.5,
    "text": lambda old: "x",
    "none": lambda old: None,
}


def _one(state: State, pick: Random) -> State:
    key = pick.choice(list(state))
    return {**state, key: ODD_TENSORS[pick.choice(list(ODD_TENSORS))](state[key])}


def _cycle(state: State, pick: Random) -> State:
    state["model"] = state
    return state


def _wrapped(state: State, pick: Random) -> State:
    for _ in range(pick.choice((1, 2, 7, 8, 9, 200))):
        state = {pick.choice(("state_dict", "model", "net", "x")): state}
    return state


def _named(state: State, pick: Random) -> State:
    prefix = pick.choice(("module.", "_orig_mod.", "module._orig_mod.module.", "model.", "x.", "module." * 500))
    return {prefix + key: value for key, value in state.items()}


def _key(state: State, pick: Random) -> State:
    key = pick.choice(list(state))
    odd = (1, None, (1, 2), 1.5, b"x", "", "x", "\0", f"module.{key}", "aux.x", "module." * 300_000 + key)
    return {**state, pick.choice(odd): state[key] if pick.random() < 0.5 else state.pop(key)}


STATES: dict[str, Callable[[State, Random], object]] = {
    "odd tensor": _one,
    "odd tensor again": _one,
    "odd tensor once more": _one,
    "cycle": _cycle,
    "wrapped": _wrapped,
    "prefix": _named,
    "key": _key,
    "missing": lambda state, pick: {key: value for key, value in state.items() if pick.random() > 0.02},
    "list": lambda state, pick: list(state.values()),
    "tensor alone": lambda state, pick: next(iter(state.values())),
}
