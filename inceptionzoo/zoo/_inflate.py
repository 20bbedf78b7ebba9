"""A network for images, with its weights, in three dimensions."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..errors import ArgumentError, check_int, plain_int
from ..nn import Net, build_network, check_unchanged, placeholder_device, private_torch, require_net
from ..spec import with_spatial_dims


def inflate(model: Net, *, length: int) -> Net:
    """Return a network for videos or volumes with the weights of one for images: (n, c, length, h, w) -> (n, num_classes).

    Each kernel is repeated along the new first dimension and divided by its length there (Carreira and Zisserman, Quo Vadis,
    Action Recognition?, CVPR 2017, section 2.1). The new dimension has the kernels and strides of the height; see
    `with_spatial_dims`. It is padded with copies of the first and the last frame (`time_padding="replicate"` of `Style`), so
    that `length` frames of one image give the outputs of the image, up to rounding. Clips of any length are accepted.

    The result shares no tensors with `model`. It has its class names, task, mode and frozen parameters. `length` is the number
    of frames in `data.input_size`.

    Raises:
        ArgumentError: `model` is no `Net` for images, is fused, has auxiliary heads, or was changed so that its
            specification does not describe it; or `length` is below 1.
    """
    net = require_net(private_torch.uncompiled(model), "inflate")
    frames = check_int("length", plain_int(length), 1)
    if net.fused or net.aux:
        raise ArgumentError("inflate: the model is fused or has auxiliary heads; use the model without them")
    if net.network.spatial_dims != 2:
        raise ArgumentError(f"inflate takes a model for images; this one has {net.network.spatial_dims} spatial dimensions")
    if callable(net.network.style.norm):
        raise ArgumentError(f"inflate: norm={net.network.style.norm!r} is your own module, whose form for videos is unknown")
    check_unchanged(net, "inflate")
    network = with_spatial_dims(net.network, 3)
    with placeholder_device(network.style):  # every value is copied from the model
        inflated = build_network(
            replace(network, style=replace(network.style, time_padding="replicate")),
            in_chans=net.in_chans,
            num_classes=net.num_classes,
            global_pool=net.global_pool,
            drop_rate=net.drop_rate,
            entry=net.entry,
            arguments={**net.arguments, "spatial_dims": 3, "time_padding": "replicate"} if net.entry else {},
            data=replace(net.data, input_size=(net.in_chans, frames, *net.data.size)),
        )
    _copy_state(net, inflated)
    return inflated


def _copy_state(net: Net, inflated: Net) -> None:
    """Copy weights, class names, task and settings."""
    state = inflated.state_dict()
    values = {key: _inflate_tensor(value, state[key]) for key, value in net.state_dict().items()}
    inflated.load_state_dict(values, assign=True)
    for ours, theirs in zip(inflated.parameters(), net.parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    modules = dict(net.named_modules())
    for name, module in inflated.named_modules():
        module.training = modules.get(name, net).training  # the pools in a `TimePaddedPool` have no counterpart
    inflated.class_names, inflated._task = net.class_names, net._task
    inflated.copy_settings(net)


def _inflate_tensor(value: Tensor, target: Tensor) -> Tensor:
    """Return a kernel (out, in, h, w) repeated along the third of five dimensions, or a copy of another tensor."""
    if value.ndim != 4 or target.ndim != 5:
        return value.clone()
    return (value / target.shape[2])[:, :, None].repeat(1, 1, target.shape[2], 1, 1)
