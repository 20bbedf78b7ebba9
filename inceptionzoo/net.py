"""A built network: features, head, and what it knows of itself. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .cost import Shape
from .entry import DataConfig, Entry
from .errors import ArgumentError, InputError, SpecError, check_int
from .heads import AuxHead, ClassifierHead
from .network import GlobalPool, Network
from .network_cost import min_input_size, network_cost


class Net(nn.Module):
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
        super().__init__()
        self.network, self.entry, self.arguments = network, entry, dict(arguments or {})
        self.in_chans = in_chans
        self.data = data or DataConfig()
        self.class_names: tuple[str, ...] | None = None
        self.report: Any = None  # what the last `load_weights` did
        self.features, self.head, self.aux = features, head, nn.ModuleDict(aux)
        self._sizes: dict[tuple[int, int], int | None] = {}  # sizes that fit: fewest positions normalised
        self.min_input_size = min_input_size(network, in_channels=in_chans, aux=bool(aux))

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
        """Timm's description of the model: architecture, preprocessing, classifier."""
        return {
            "architecture": self.entry.name if self.entry else None,
            "num_classes": self.num_classes,
            "classifier": "head.fc",
            **{key: tuple(value) if isinstance(value, list) else value for key, value in self.data.to_json().items()},
        }

    @property
    def default_cfg(self) -> dict[str, Any]:
        """Timm's older name of `pretrained_cfg`."""
        return self.pretrained_cfg

    # --- what it does -----------------------------------------------------------------------------------------------
    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return `forward(x)`, after a check of the images that tracing, export and compilation never meet.

        Raises:
            InputError: the images have another rank or number of channels, or are too small.
        """
        tracing = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]
        if isinstance(x, Tensor) and not tracing:
            self._check_images(x)
        return super().__call__(x, *args, **kwargs)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map: (n, c, h, w) -> (n, num_features, h', w')."""
        x = self.features(x)
        return x

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
            x = stage(x)
            if name in self.aux:
                taps[name] = self.aux[name](x)
        return self.forward_head(x), taps

    def _check_images(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_chans:
            raise InputError(f"images of shape {tuple(x.shape)} must have shape (n, {self.in_chans}, height, width)")
        count, _, height, width = x.shape
        if min(height, width) < self.min_input_size:
            raise InputError(
                f"images of {height}x{width} px are too small: the smallest side is {self.min_input_size} px; resize them"
            )
        if (height, width) not in self._sizes:
            try:
                self._sizes[height, width] = self._normed(height, width)
            except (InputError, SpecError) as error:
                raise InputError(f"images of {height}x{width} px do not fit: {error}; resize them") from error
        if self.training and count == 1 and self._sizes[height, width] == 1:
            raise InputError(
                f"one image of {height}x{width} px leaves batch normalisation a single value a channel in training; "
                "use two images or more (drop_last=True drops a last batch of one), larger ones, or model.eval()"
            )

    def _normed(self, height: int, width: int) -> int | None:
        return network_cost(self.network, Shape(self.in_chans, height, width), 1, aux=bool(self.aux)).normed

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

    def set_input_size(self, img_size: int | tuple[int, int]) -> None:
        """Set the size, in pixels, to which `transforms` and `predict` bring images.

        Raises:
            InputError: it is smaller than the network accepts.
        """
        height, width = img_size if isinstance(img_size, tuple) else (img_size, img_size)
        for side in (height, width):
            check_int("img_size", side, 1)
        if min(height, width) < self.min_input_size:
            raise InputError(f"img_size={img_size!r} is too small: the smallest side is {self.min_input_size} px")
        self.data = self.data.sized(self.in_chans, height, width)

    def set_class_names(self, names: tuple[str, ...] | list[str]) -> None:
        """Name the outputs, in order.

        Raises:
            ArgumentError: there are not as many names as classes, or one stands twice.
        """
        self.class_names = check_class_names(names, self.num_classes)


def check_class_names(names: object, num_classes: int) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        ArgumentError: there are not as many as classes, or one stands twice.
    """
    strings = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if isinstance(names, list | tuple) and strings and len(names) == len(set(names)) == num_classes:
        return tuple(names)
    raise ArgumentError(f"class_names={names!r} must be {num_classes} different strings, one a class")
