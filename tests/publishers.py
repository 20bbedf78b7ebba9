"""The publishers' own networks for every tag of published weights, and their files on the loopback server."""

import hashlib
import io
import warnings
import zipfile
from dataclasses import replace
from functools import partial

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
from pytorchcv.models.bninception import bninception
from pytorchcv.models.inceptionresnetv1 import inceptionresnetv1
from server import HOST
from torch import nn

from inceptionzoo import Published
from inceptionzoo.zoo._registry import REGISTRY

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SyntaxWarning)
    from pretrainedmodels.models.bninception import bninception as cadene_bninception
    from pytorch_fid import inception as fid

ROWS = {f"{name}.{tag}": row for name, entry in REGISTRY.items() for tag, row in entry.weights.items()}
PLAIN = {"weights": None, "init_weights": False}


def fid_network() -> nn.Module:
    """Return pytorch-fid's network without its download; its file has 1008 classes."""
    model = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, **PLAIN)
    for name, block in (("Mixed_5b", fid.FIDInceptionA(192, 32)), ("Mixed_5c", fid.FIDInceptionA(256, 64))):
        setattr(model, name, block)
    model.Mixed_5d = fid.FIDInceptionA(288, 64)
    for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        setattr(model, name, fid.FIDInceptionC(768, width))
    model.Mixed_7b, model.Mixed_7c = fid.FIDInceptionE_1(1280), fid.FIDInceptionE_2(2048)
    return model


def i3d_network(row: Published) -> nn.Module:
    """Return the port of I3D with TensorFlow's epsilon."""
    model = InceptionI3d(row.num_classes, in_channels=row.data.input_size[0])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-3
    return model


PEERS = {
    "googlenet.tv_in1k": lambda: torchvision.models.googlenet(aux_logits=False, **PLAIN),
    "bn_inception.cadene_in1k": lambda: cadene_bninception(pretrained=None),
    "bn_inception.pcv_in1k": bninception,
    "inception_v3_fid.tf_2015": fid_network,
    "inception_resnet_v1.pcv_in1k": inceptionresnetv1,
    "xception.tf_in1k": lambda: timm.create_model("legacy_xception"),
    "s3d.tv_kinetics400": torchvision.models.video.s3d,
    **{name: partial(i3d_network, row) for name, row in ROWS.items() if name.startswith("i3d.")},
    "vgg16.tv_features": lambda: torchvision.models.vgg16(**PLAIN),
    **{name: partial(timm.create_model, name.partition(".")[0]) for name, row in ROWS.items() if "timm/" in row.url},
}


def serve(name: str, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve a file at the row's URL. If the row has a checksum, replace it by that of this file."""
    base, tag = name.split(".", 1)
    row, stream = ROWS[name], io.BytesIO()
    if row.url.startswith("hf-hub:"):
        data = safetensors.torch.save({key: value.contiguous() for key, value in state.items()})
        HOST.put_repo(row.url.removeprefix("hf-hub:"), {"model.safetensors": data})
        return
    torch.save(state, stream)
    data, kind = stream.getvalue(), row.digest.partition(":")[0]
    if kind:
        digits = hashlib.new(kind, data).hexdigest()[: len(row.digest) - len(kind) - 1]
        rows = {**REGISTRY[base].weights, tag: replace(row, digest=f"{kind}:{digits}")}
        monkeypatch.setitem(REGISTRY, base, replace(REGISTRY[base], weights=rows))
    if row.member:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(row.member, data)
        data = archive.getvalue()
    HOST.put("/" + row.url.split("/", 3)[3], data)
