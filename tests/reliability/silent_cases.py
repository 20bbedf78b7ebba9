"""The cases of figure 7, as tables: an action, and what its error or report must say."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any

import safetensors.torch
import torch
from hostile import TINY
from silent_lab import Lab

import inceptionzoo as iz

CONV, BIAS, FC = "features.stem.conv.weight", "head.fc.bias", "head.fc.weight"
VAR, COUNT = "features.stem.bn.running_var", "features.stem.bn.num_batches_tracked"
LFS, HTML = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", b"<!DOCTYPE html><html></html>"
KERNEL, FLOAT64 = torch.zeros(4, 3, 3, 3), torch.full((4, 3, 3, 3), 1e300, dtype=torch.float64)
IMAGES, LABELS = torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])
NAN, INF, MEAN = float("nan"), float("inf"), {"mean": [0.1, 0.1, 0.1]}

DO: dict[str, Callable[[Lab], Any]] = {
    # damaged files, and files of another format
    "empty .safetensors": lambda lab: lab.file("a.safetensors", b""),
    "empty .pth": lambda lab: lab.file("a.pth", b""),
    "missing file": lambda lab: lab.load(lab.folder / "a.pth"),
    "a folder": lambda lab: lab.load(lab.folder),
    "LFS pointer": lambda lab: lab.file("a.safetensors", LFS),
    "LFS pointer .pth": lambda lab: lab.file("a.pth", LFS),
    "HTML": lambda lab: lab.file("a.safetensors", HTML),
    "HTML .pth": lambda lab: lab.file("a.pth", HTML),
    ".pth as .safetensors": lambda lab: lab.file("a.safetensors", lab.pth()),
    ".safetensors as .pth": lambda lab: lab.file("a.pth", lab.ours().read_bytes()),
    "truncated": lambda lab: lab.file("a.safetensors", lab.ours().read_bytes()[:-9]),
    "truncated .pth": lambda lab: lab.file("a.pth", lab.pth()[:-9]),
    "more bytes": lambda lab: lab.file("a.safetensors", lab.ours().read_bytes() + b"\0"),
    "more bytes .pth": lambda lab: lab.file("a.pth", lab.pth() + b"\0" * 9),
    "flipped bits": lambda lab: lab.file("a.safetensors", lab.ours().read_bytes()[:-1] + b"\x55"),
    "flipped bits .pth": lambda lab: lab.file("a.pth", lab.flipped(CONV)),
    "compressed": lambda lab: lab.file("a.pth", lab.rezip(zipfile.ZIP_DEFLATED)),
    "entries twice": lambda lab: lab.file("a.pth", lab.rezip(zipfile.ZIP_STORED, 2)),
    # headers
    "header key twice": lambda lab: lab.header(lambda head: head[:-1] + b"," + head[1:]),
    "leading blank": lambda lab: lab.header(lambda head: b" " + head),
    "not JSON": lambda lab: lab.header(lambda head: head.replace(b":", b";")),
    "unknown dtype": lambda lab: lab.header(lambda head: head.replace(b'"F32"', b'"F99"')),
    "no tensors": lambda lab: lab.header(lambda head: b"{}"),
    "no tensors at all": lambda lab: lab.file("a.safetensors", safetensors.torch.save({})),
    "marker without digest": lambda lab: lab.metadata("inceptionzoo", "x"),
    "digest without marker": lambda lab: lab.metadata("inceptionzoo_digest", "0" * 64),
    "newer version": lambda lab: lab.load(lab.metadata_file(version=2)),
    "unknown metadata key": lambda lab: lab.load(lab.metadata_file(more=1)),
    "missing metadata key": lambda lab: lab.load(lab.metadata_file("aux")),
    "metadata of another type": lambda lab: lab.load(lab.metadata_file(num_classes="3")),
    "metadata with wrong class names": lambda lab: lab.load(lab.metadata_file(class_names=["a"])),
    "file without metadata": lambda lab: iz.load_model(lab.foreign()),
    # names
    "empty state dict": lambda lab: lab.load({}),
    "no key matched": lambda lab: lab.load({"x" + key: value for key, value in lab.state.items()}),
    "a missing key": lambda lab: lab.load(lab.without(BIAS)),
    "an extra key": lambda lab: lab.put("more", KERNEL),
    "prefix on some": lambda lab: lab.put("module." + BIAS, KERNEL),
    "other architecture": lambda lab: lab.load(lab.other()),
    "other architecture's name": lambda lab: lab.create(lab.other()),
    "without auxiliary heads": lambda lab: iz.load_weights(iz.with_aux(lab.model), lab.ours()),
    "a list for a tensor": lambda lab: lab.put(BIAS, [1.0]),
    "a number for a name": lambda lab: lab.put(3, KERNEL),
    # shapes and kinds
    "another num_classes": lambda lab: lab.load(lab.heads(7)),
    "a head that contradicts the metadata": lambda lab: iz.load_model(lab.metadata_file(state=lab.heads(7))),
    "the same with create_model": lambda lab: lab.create(lab.metadata_file(state=lab.heads(7))),
    "metadata that contradicts the head": lambda lab: iz.load_model(lab.metadata_file(num_classes=2)),
    "another kernel": lambda lab: lab.put(CONV, torch.zeros(4, 3, 5, 5)),
    "expanded": lambda lab: lab.put(CONV, torch.zeros(1).expand(4, 3, 3, 3)),
    "sparse": lambda lab: lab.put(CONV, KERNEL.to_sparse()),
    "meta": lambda lab: lab.put(CONV, KERNEL.to("meta")),
    "quantized": lambda lab: lab.put(CONV, torch.quantize_per_tensor(KERNEL, 0.1, 0, torch.qint8)),
    "nested": lambda lab: lab.put(CONV, torch.nested.nested_tensor([*KERNEL])),
    "masked": lambda lab: lab.put(CONV, torch.masked.masked_tensor(KERNEL, KERNEL == 0)),
    "functional": lambda lab: lab.put(CONV, torch._to_functional_tensor(KERNEL)),
    "int8": lambda lab: lab.put(CONV, KERNEL.to(torch.int8)),
    "int64": lambda lab: lab.put(CONV, KERNEL.to(torch.int64)),
    "bool": lambda lab: lab.put(CONV, KERNEL.to(torch.bool)),
    "complex": lambda lab: lab.put(CONV, KERNEL.to(torch.complex64)),
    "float counter": lambda lab: lab.put(COUNT, torch.tensor(1.0)),
    # values
    "NaN": lambda lab: lab.load(lab.last(CONV, NAN)),
    "NaN in a file": lambda lab: lab.file("a.pth", lab.pth(lab.last(CONV, NAN))),
    "+Inf": lambda lab: lab.load(lab.last(BIAS, INF)),
    "-Inf": lambda lab: lab.load(lab.last(BIAS, -INF)),
    "negative variance": lambda lab: lab.load(lab.last(VAR, -0.5)),
    "negative counter": lambda lab: lab.load(lab.last(COUNT, -1)),
    "above float32": lambda lab: lab.put(CONV, FLOAT64),
    "above float16": lambda lab: lab.use(iz.create_model(TINY, dtype=torch.float16).eval()).load(lab.last(CONV, 1e6)),
    "above float16, created": lambda lab: lab.create(lab.last(CONV, 1e6), dtype=torch.float16),
    # arguments and data
    "unknown keyword": lambda lab: lab.create(num_clases=2),
    "unknown model": lambda lab: iz.create_model("googlnet"),
    "nothing published": lambda lab: lab.create(pretrained=True),
    "out_indices of no effect": lambda lab: lab.create(out_indices=(1,)),
    "classes without a head": lambda lab: lab.create(features_only=True, num_classes=2),
    "too few class names": lambda lab: lab.ours(class_names=["a"]),
    "class names twice": lambda lab: lab.model.set_class_names(["a", "b", "b"]),
    "metric NaN": lambda lab: lab.ours(metrics={"auc": NAN}),
    "unknown target": lambda lab: iz.evaluate(lab.model, [(IMAGES, LABELS + 2)]),
    "integer images": lambda lab: iz.evaluate(lab.model, [(IMAGES.byte(), LABELS)]),
    "no batch": lambda lab: iz.evaluate(lab.model, []),
    "lr of no effect": lambda lab: iz.fit(
        lab.model, [(IMAGES, LABELS)], epochs=1, lr=0.1, optimizer=torch.optim.SGD(lab.model.parameters())
    ),
}

# case | class of the error | the value, the constraint and the remedy that its message must contain
REFUSED = """
empty .safetensors | FileError | a.safetensors | 0 bytes cannot hold | download it
empty .pth | FileError | a.pth | not a .pth file or is damaged | download it
missing file | FileError | a.pth | is not a file | give the path
a folder | FileError | / | is not a file | give the path
LFS pointer | FileError | a.safetensors | git-LFS pointer | git lfs pull
LFS pointer .pth | FileError | a.pth | git-LFS pointer | git lfs pull
HTML | FileError | a.safetensors | HTML page | download
HTML .pth | FileError | a.pth | HTML page | download
.pth as .safetensors | FileError | a.safetensors | but a .pth archive | rename
.safetensors as .pth | FileError | a.pth | but a .safetensors file | rename
truncated | FileError | a.safetensors | the file holds | download it
truncated .pth | FileError | a.pth | truncated | download it
more bytes | FileError | a.safetensors | the file holds | download it
more bytes .pth | FileError | a.pth | has bytes after the archive | download it
flipped bits | FileError | a.safetensors | do not match its own digest | download it
flipped bits .pth | FileError | archive/data/ | checksum | download it
compressed | FileError | data.pkl' | is compressed | save it again
entries twice | FileError | a.pth | two entries of one name | save it again
header key twice | FileError | 'features. | appears twice | download it
leading blank | FileError | header.safetensors | must start with '{' | download it
not JSON | FileError | header.safetensors | damaged | download it
unknown dtype | FileError | dtype 'F99' | it must be one of | download it
no tensors | FileError | header.safetensors | take 0 bytes and the file holds | download it
no tensors at all | MismatchError | a.safetensors | no tensor has a name | use weights of the same architecture
marker without digest | FileError | header.safetensors | must hold both | download it
digest without marker | FileError | header.safetensors | must hold both | download it
newer version | FileError | version=2 | reads 1 | upgrade
unknown metadata key | FileError | 'more' | is unknown | save it again
missing metadata key | FileError | 'aux' | is missing | save it again
metadata of another type | FileError | num_classes='3' | must be of type | save it again
metadata with wrong class names | FileError | class_names=['a'] | must be 3 different | save it again
file without metadata | FileError | foreign.safetensors | does not say which model | create_model(NAME
empty state dict | FileError | the state dict | holds no state dict | by itself or under
no key matched | MismatchError | the state dict | no tensor has a name | use weights of the same architecture
a missing key | MismatchError | head.fc.bias | 1 missing | use weights of this model
an extra key | MismatchError | more | 1 unknown | use weights of this model
prefix on some | MismatchError | head.fc.bias | appears twice | remove one
other architecture | MismatchError | 'other_for_reliability' | the model is 'tiny_for_reliability' | load_model
other architecture's name | MismatchError | 'other_for_reliability' | not 'tiny_for_reliability' | load_model
without auxiliary heads | MismatchError | aux.stem | 4 missing | load them before with_aux(model)
a list for a tensor | FileError | 'head.fc.bias' is a list | not a tensor | pass the state dict
a number for a name | FileError | key 3 | must be a str | pass the state dict
another num_classes | MismatchError | (7, 8) | must be the model's (3, 8) | new_head=True
a head that contradicts the metadata | MismatchError | (7, 8) | must be the model's (3, 8) | use weights of this model
the same with create_model | MismatchError | (7, 8) | must be the model's (3, 8) | use weights of this model
metadata that contradicts the head | MismatchError | (3, 8) | must be the model's (2, 8) | use weights of this model
another kernel | MismatchError | (4, 3, 5, 5) | must be (4, 3, 3, 3) | use weights of this model
expanded | MismatchError | (4, 3, 3, 3) | more elements than are stored | save it contiguous
sparse | MismatchError | torch.sparse_coo | must be a plain dense tensor | save it as one
meta | MismatchError | on the meta device | must be a plain dense tensor | save it as one
quantized | MismatchError | torch.qint8 | must be a plain dense tensor | save it as one
nested | MismatchError | features.stem.conv.weight | must be a plain dense tensor | save it as one
masked | MismatchError | MaskedTensor | must be a plain dense tensor | save it as one
functional | MismatchError | features.stem.conv.weight | must be a plain dense tensor | save it as one
int8 | MismatchError | features.stem.conv.weight: dtype torch.int8 | must be torch.float32 | cast it
int64 | MismatchError | features.stem.conv.weight: dtype torch.int64 | must be torch.float32 | cast it
bool | MismatchError | features.stem.conv.weight: dtype torch.bool | must be torch.float32 | cast it
complex | MismatchError | features.stem.conv.weight: dtype torch.complex64 | must be torch.float32 | cast it
float counter | MismatchError | features.stem.bn.num_batches_tracked: dtype torch.float32 | must be torch.int64 | cast it
NaN | MismatchError | minimum nan | features.stem.conv.weight: all values must be finite | use weights of this model
NaN in a file | MismatchError | minimum nan | features.stem.conv.weight: all values must be finite | use weights of this model
+Inf | MismatchError | maximum inf | head.fc.bias: all values must be finite | use weights of this model
-Inf | MismatchError | minimum -inf | head.fc.bias: all values must be finite | use weights of this model
negative variance | MismatchError | minimum -0.5 | running_var: no value may be negative | use weights of this model
negative counter | MismatchError | minimum -1 | num_batches_tracked: no value may be negative | use weights of this model
above float32 | MismatchError | maximum inf | features.stem.conv.weight: all values must be finite | use weights of this model
above float16 | MismatchError | maximum inf | features.stem.conv.weight: all values must be finite | use weights of this model
above float16, created | MismatchError | maximum inf | features.stem.conv.weight: all values must be finite | use
unknown keyword | KeywordError | 'num_clases' | unknown keyword | did you mean 'num_classes'
unknown model | UnknownModelError | 'googlnet' | unknown model | did you mean 'googlenet'
nothing published | ArgumentError | pretrained=True | no published weights | weights=FILE
out_indices of no effect | ArgumentError | out_indices=(1,) | no effect | features_only=True
classes without a head | ArgumentError | num_classes=2 | leaves no head | leave them out
too few class names | ArgumentError | class_names=['a'] | must be 3 different strings | one per class
class names twice | ArgumentError | ['a', 'b', 'b'] | must be 3 different strings | one per class
metric NaN | ArgumentError | auc=nan | must be a finite | number
unknown target | ArgumentError | from 2 to 3 | must lie in 0..2 | num_classes=3
integer images | ArgumentError | torch.uint8 | must be floating point | transforms(model)
no batch | ArgumentError | evaluate | gave no batch | check
lr of no effect | ArgumentError | lr=0.1 | no effect | set it there
"""

# case: (action, field of the report or "" if an error may say it too, what the text must contain)
REPORTED: dict[str, tuple[Callable[[Lab], Any], str, tuple[str, ...]]] = {
    "auxiliary heads": (lambda lab: lab.load(lab.ours(iz.with_aux(lab.donor))), "dropped", ("aux.stem.head.fc.weight",)),
    "counters absent": (lambda lab: lab.load(lab.without("num_batches")), "adapted", (COUNT, "absent, set to 0")),
    "cast up": (lambda lab: lab.load(lab.cast(torch.bfloat16)), "adapted", (CONV, "from torch.bfloat16 to torch.float32")),
    "cast down": (lambda lab: lab.load(lab.cast(torch.float64)), "adapted", (CONV, "from torch.float64 to torch.float32")),
    "another layout": (Lab.renaming, "renamed", ("linear.weight", FC)),
    "dense layers as convolutions": (Lab.exchanging, "adapted", ("head.hidden.fc1.weight", "exchanged")),
    "a new head": (lambda lab: lab.create(lab.ours(), num_classes=2), "replaced", (FC, BIAS)),
    "a random head": (lambda lab: lab.create(lab.ours(), num_classes=2), "left_random", (FC, BIAS)),
    "a wider head": (lambda lab: lab.create(lab.ours(), global_pool="catavgmax"), "left_random", (FC, BIAS)),
    "a head that is kept": (lambda lab: lab.load(lab.heads(7), new_head=True), "replaced", (FC, BIAS)),
    "a random head that is kept": (lambda lab: lab.load(lab.heads(7), new_head=True), "left_random", (FC, BIAS)),
    "a head left out": (lambda lab: lab.create(lab.ours(), num_classes=0), "dropped", (FC, BIAS)),
    "a head left out of features": (lambda lab: lab.create(lab.ours(), features_only=True), "dropped", (FC, BIAS)),
    "one of two state dicts": (lambda lab: lab.load({"model": lab.state, "model_ema": lab.heads(3)}), "", ("model_ema",)),
    "another activation": (lambda lab: lab.load(lab.ours(iz.create_model(TINY, act_layer="silu"))), "", ("act_layer",)),
    "other class names": (lambda lab: lab.named("abc").load(lab.ours(class_names=[*"xyz"])), "", ("class_names",)),
    "other preprocessing": (lambda lab: lab.load(lab.metadata_file(data=lab.model.data.to_json() | MEAN)), "", ("mean",)),
}
