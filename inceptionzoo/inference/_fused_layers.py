"""Build the fused form of a stage: walk its specification and its modules together."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..nn import Branches, ConvNormAct, ResidualBlock, Steps
from ..spec import Act, Chain, Concat, Conv, Depthwise, Layer, Norm, Pool, Residual, Style, is_one
from ._fold import conv_like, fold_batch_norm, is_affine, is_foldable, norm_affine, scaled
from ._modules import ConvAct, FusedResidual, JoinedBranches, PoolBiasAct, TunedMaxPool
from ._signals import is_max_pool


@dataclass(frozen=True, slots=True)
class LeadingConv:
    """The 1x1 convolution that begins a branch; it can be joined with those of the other branches.

    Args:
        position: the branch's position in the concatenated output.
        conv: the convolution.
        pool: the average pool before the convolution, if any; it is moved behind the convolution.
        rest: the remaining modules of the branch, fused.
    """

    position: int
    conv: ConvNormAct
    pool: nn.Module | None
    rest: tuple[nn.Module, ...]

    @property
    def active(self) -> bool:
        """Whether an activation follows the convolution directly, without a pool between them."""
        return self.pool is None and self.conv.act is not None


def fused_layer(layer: Layer, module: nn.Module, style: Style) -> nn.Module:
    """Return the fused form of `module`, which was built from `layer`. The two modules share no tensors."""
    match layer:
        case Conv() | Depthwise() if is_foldable(module):
            return ConvAct(conv_like(module.conv, *fold_batch_norm(module)), _activation(module))
        case Chain():
            return _chain(layer, module, style)
        case Concat():
            return _concat(layer, module, style)
        case Residual():
            assert isinstance(module, ResidualBlock)
            return _residual(layer, module, style)
        case Pool() if is_max_pool(module):
            return TunedMaxPool(copy.deepcopy(module))
        case _:
            return copy.deepcopy(module)


def _activation(module: ConvNormAct) -> nn.Module:
    return nn.Identity() if module.act is None else copy.deepcopy(module.act)


def layer_module_pairs(layer: Layer, module: nn.Module) -> Iterator[tuple[Layer, nn.Module]]:
    """Yield the steps of a chain with their modules; any other layer is a single step."""
    if isinstance(layer, Chain):
        yield from zip(layer.layers, module.children(), strict=True)
    else:
        yield layer, module


def _chain(layer: Chain, module: nn.Module, style: Style) -> Steps:
    """Return the fused steps, with the names of the others.

    A normalisation and an activation are folded into the convolutions that end the step before, and left out.
    """
    steps = OrderedDict[str, nn.Module]()
    for index, (step, part) in enumerate(layer_module_pairs(layer, module)):
        tails = _linear_tails(next(reversed(steps.values()))) if steps else []
        if tails and isinstance(step, Norm) and is_affine(part):
            _fold_norm(tails, part)
        elif tails and isinstance(step, Act) and not callable(style.act):
            for tail in tails:
                tail.act = copy.deepcopy(part)
        else:
            steps[str(index)] = fused_layer(step, part, style)
    return Steps(steps)


def _linear_tails(module: nn.Module) -> list[ConvAct]:
    """Return the convolutions without activation whose outputs together are the module's output; [] if it has others."""
    match module:
        case ConvAct() if type(module.act) is nn.Identity:
            return [module]
        case Steps() if len(module):
            return _linear_tails(module[-1])
        case Branches():
            tails = [_linear_tails(branch) for branch in module.values()]
            return [tail for each in tails for tail in each] if all(tails) else []
    return []


def _fold_norm(tails: Sequence[ConvAct], norm: nn.Module) -> None:
    """Fold batch normalisation into the convolutions whose concatenated outputs it takes."""
    gains, shifts = (torch.split(values, [tail.conv.out_channels for tail in tails]) for values in norm_affine(norm))
    for tail, gain, shift in zip(tails, gains, shifts, strict=True):
        tail.conv = conv_like(tail.conv, *scaled(tail.conv, gain, shift))


def _concat(layer: Concat, module: nn.Module, style: Style) -> nn.Module:
    """Return the fused branches; if two or more begin with a 1x1 convolution of the input, these are joined."""
    branches = [(branch, module.get_submodule(name)) for name, branch in layer.branches]
    leads = [lead for position, branch in enumerate(branches) if (lead := _leading_conv(position, *branch, style))]
    if callable(style.act) or len([lead for lead in leads if lead.pool is None]) < 2:
        return Branches({name: fused_layer(*branch, style) for (name, _), branch in zip(layer.branches, branches, strict=True)})
    leads.sort(key=lambda lead: not lead.active)
    weights, biases = zip(*(fold_batch_norm(lead.conv) for lead in leads), strict=True)
    first_bias = torch.cat([torch.zeros_like(bias) if lead.pool else bias for lead, bias in zip(leads, biases, strict=True)])
    first = conv_like(leads[0].conv.conv, torch.cat(weights), first_bias)
    joined = {lead.position: _rest_of_branch(lead, bias) for lead, bias in zip(leads, biases, strict=True)}
    alone = {position: fused_layer(*branch, style) for position, branch in enumerate(branches) if position not in joined}
    active = sum(lead.conv.conv.out_channels for lead in leads if lead.active)
    widths = [lead.conv.conv.out_channels for lead in leads]
    return JoinedBranches(first, _activation(leads[0].conv), active, widths, joined, alone)


def _leading_conv(position: int, branch: Layer, module: nn.Module, style: Style) -> LeadingConv | None:
    """Return the 1x1 convolution that begins the branch, alone or after an average pool; None if there is none to join."""
    (layer, part), *rest = layer_module_pairs(branch, module)
    pool = None
    if isinstance(layer, Pool) and layer.kind == "avg" and is_one(layer.stride) and rest:
        pool, ((layer, part), *rest) = copy.deepcopy(part), rest
    if (
        not isinstance(layer, Conv)
        or not is_one(layer.kernel)
        or not is_one(layer.stride)
        or layer.groups != 1
        or not is_foldable(part)
    ):
        return None
    return LeadingConv(position, part, pool, tuple(fused_layer(*step, style) for step in rest))


def _rest_of_branch(lead: LeadingConv, bias: Tensor) -> nn.Module:
    """Return the remainder of a branch after the joined convolution."""
    if lead.pool is None:
        return Steps(*lead.rest)
    weight = lead.conv.conv.weight
    after = PoolBiasAct(lead.pool, bias.to(weight, copy=True), _activation(lead.conv), dims=weight.ndim - 2)
    return Steps(after, *lead.rest)


def _residual(layer: Residual, module: ResidualBlock, style: Style) -> nn.Module:
    """Return the fused residual block, with its scale folded into the projection, if it has one."""
    project, scale = copy.deepcopy(module.project), layer.scale
    if is_foldable(module.project):
        weight, bias = fold_batch_norm(module.project)
        project, scale = conv_like(module.project.conv, weight * scale, bias * scale), 1.0
    shortcut = nn.Identity() if layer.shortcut is None else fused_layer(layer.shortcut, module.shortcut, style)
    body, act = fused_layer(layer.body, module.body, style), copy.deepcopy(module.act)
    return FusedResidual(body, project, shortcut, act, scale=scale)
