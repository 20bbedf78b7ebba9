"""A built network: features, head, and what it knows of itself. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, InputError, check_int
from ..spec import DataConfig, Entry, GlobalPool, Head, Network
from ._backbone import Backbone, Indices
from ._heads import AuxHead, ClassifierHead
from ._private_torch import uncompiled
from ._report import Report


class Net(Backbone[Tensor]):
    """A network of this library: (n, c, h, w) -> (n, num_classes), one Tensor in every mode.

    `entry` and `arguments` are what `create_model` made it from; `data` is how its images are prepared; `class_names`
    what its outputs are called, where that is known.
    """

    def __init__(
        self,
        network: Network,
        features: nn.Sequential,
        head: ClassifierHead,
        *,
        in_chans: int,
        aux: Mapping[str, AuxHead] | None = None,
        entry: Entry | None = None,
        arguments: Mapping[str, Any] | None = None,
        data: DataConfig | None = None,
    ) -> None:
        super().__init__(network, features, in_chans=in_chans, aux=bool(aux))
        self.entry, self.arguments = entry, dict(arguments or {})
        self.data = data or DataConfig()
        self.class_names: tuple[str, ...] | None = None
        self.report: Report | None = None  # what the last `load_weights` did
        self._described: dict[str, Any] | None = None  # by timm, whose registry the model came from
        self.head, self.aux = head, nn.ModuleDict(aux)

    # --- what it is -------------------------------------------------------------------------------------------------
    @property
    def num_classes(self) -> int:
        """Number of outputs; 0 where the head gives features."""
        return self.head.num_classes

    @property
    def global_pool(self) -> GlobalPool:
        """Kind of global pooling; "" for none."""
        return self.head.global_pool

    @property
    def num_features(self) -> int:
        """Channels of `forward_features`."""
        return self.head.in_channels

    @property
    def head_hidden_size(self) -> int:
        """Width of the pre-logits."""
        return self.head.num_features

    @property
    def is_channels_last(self) -> bool:
        """Whether the weights, and so the computation, are in torch's channels_last memory format."""
        weights = [weight for weight in self.parameters() if weight.ndim == 4 and not weight.is_contiguous()]
        return any(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """Timm's description of the model: architecture, preprocessing, classifier; or what timm's registry says instead."""
        if self._described is not None:
            return self._described
        return {
            "architecture": self.entry.name if self.entry else None,
            "num_classes": self.num_classes,
            "classifier": "head.fc",
            **{key: tuple(value) if isinstance(value, list) else value for key, value in self.data.to_json().items()},
        }

    @pretrained_cfg.setter
    def pretrained_cfg(self, described: dict[str, Any]) -> None:
        self._described = described

    @property
    def default_cfg(self) -> dict[str, Any]:
        """Timm's older name of `pretrained_cfg`."""
        return self.pretrained_cfg

    @default_cfg.setter
    def default_cfg(self, described: dict[str, Any]) -> None:
        self._described = described

    # --- what it does -----------------------------------------------------------------------------------------------
    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits, or pre-logits: (n, num_features, h', w') -> (n, num_classes) or (n, head_hidden_size)."""
        x = self.head(x, pre_logits=pre_logits)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_aux(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of each auxiliary head by the name of its tap: each (n, num_classes)."""
        self._check_images(x)
        taps = {}
        for name, stage in self.features.named_children():
            x = self.run(stage, x)
            if name in self.aux:
                taps[name] = self.aux[name](x)
        return self.forward_head(x), taps

    # --- what may change ---------------------------------------------------------------------------------------------
    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: GlobalPool | None = None) -> None:
        """Put a new, random classifier on the model and on its auxiliary heads; 0 classes for features.

        Hidden layers of the head stay, unless the pooling changes their width.

        Raises:
            ArgumentError: `num_classes` is negative, or asked for without pooling.
        """
        like = next(self.features.parameters())
        self.head = self.head.renewed(num_classes, global_pool, like)
        if num_classes != len(self.class_names or ()):
            self.class_names = None
        for branch in self.aux.values():
            if isinstance(branch, AuxHead):
                branch.head = branch.head.renewed(num_classes, None, like)

    def prune_intermediate_layers(
        self,
        indices: Indices = 1,
        prune_norm: bool = False,  # noqa: ARG002  # timm's signature
        prune_head: bool = True,
    ) -> list[int | str]:
        """Drop the stages after the last of `indices`, and the head with them; return the indices, as timm does.

        The model is another network then, without a name to be saved by. The head also goes where `prune_head`.

        Raises:
            ArgumentError: an index is no level, a name no stage.
        """
        names = self.tap_names(indices)
        kept, channels = self.tap_indices(names), self.stage_info(names)[-1]["num_chs"]
        cut = self.truncate(names[-1])
        if cut or prune_head:
            like = next(self.features.parameters())
            head = ClassifierHead(Head(), channels, 0, "", self.head.drop.p)
            self.head = head.to(like.device).train(self.training)
            self.aux = nn.ModuleDict()
            self.entry, self.class_names = None, None
        return kept

    def set_input_size(self, img_size: int | tuple[int, int]) -> None:
        """Set the size, in pixels, to which `transforms` and `predict` bring images.

        Raises:
            InputError: it is smaller than the network accepts.
        """
        sides = img_size if isinstance(img_size, tuple) else (img_size, img_size)
        if len(sides) != 2:
            raise ArgumentError(f"img_size={img_size!r} must be an int or (height, width)")
        height, width = (check_int("img_size", side, 1) for side in sides)
        if min(height, width) < self.min_input_size:
            raise InputError(f"img_size={img_size!r} is too small: the smallest side is {self.min_input_size} px")
        self.data = self.data.sized(self.in_chans, height, width)
        if self._described is not None:
            self._described = {**self._described, "input_size": self.data.input_size}

    def set_class_names(self, names: tuple[str, ...] | list[str]) -> None:
        """Name the outputs, in order.

        Raises:
            ArgumentError: there are not as many names as classes, or one stands twice.
        """
        self.class_names = check_class_names(names, self.num_classes)


def check_net(model: object) -> None:
    """Check that `model` is a `Net`, or one that torch has compiled.

    Raises:
        ArgumentError: it is not.
    """
    if not isinstance(uncompiled(model), Net):
        raise ArgumentError(f"model of type {type(model).__name__} must be a model of create_model, load_model or build")


def check_class_names(names: object, num_classes: int) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        ArgumentError: there are not as many as classes, or one stands twice.
    """
    strings = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if isinstance(names, list | tuple) and strings and len(names) == len(set(names)) == num_classes:
        return tuple(names)
    raise ArgumentError(f"class_names={names!r} must be {num_classes} different strings, one a class")
