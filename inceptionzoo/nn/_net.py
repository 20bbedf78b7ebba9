"""A network as a module, with timm's methods. Shapes: n images, c channels, h x w pixels.

Annotations are evaluated here, because torch.jit.script of a traced model needs the type of `forward`'s argument, not its name.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, InputError, check_int, plain_int
from ..spec import AXES, DataConfig, Entry, GlobalPool, Head, Network
from ._backbone import Backbone, Indices, Origin
from ._heads import AuxHead, ClassifierHead, output_width
from ._report import Report
from ._task import check_class_names, check_task, default_task, name_counts, task_fits

OTHER_NAMES = {  # the name of a part in torchvision's, timm's and Cadene's models: where it is in these
    **dict.fromkeys(
        ("fc", "classifier", "last_linear"), "the classifier is model.head.fc; model.reset_classifier(num_classes) replaces it"
    ),
    **dict.fromkeys(("AuxLogits", "aux1", "aux2"), "with_aux(model) has auxiliary heads, in model.aux"),
    **dict.fromkeys(("avgpool", "avg_pool", "global_pool"), "the pooling is model.head.pool"),
    **dict.fromkeys(("dropout", "head_drop"), "the dropout is model.head.drop"),
}


class Net(Backbone[Tensor]):
    """A network of this library: (n, in_chans, h, w) -> (n, num_classes). It returns one tensor in every mode.

    `network` is its specification. `entry` and `arguments` are the registry entry and the keyword arguments from which
    `create_model` built it; `entry` is None for a model of `build`. `data` is the preprocessing of images. `task` says what the
    outputs mean. `report` is the report of the last `load_weights`, or None.
    """

    def __init__(
        self,
        network: Network,
        features: nn.Sequential,
        head: ClassifierHead,
        *,
        in_chans: int,
        aux: nn.ModuleDict | None = None,
        entry: Entry | None = None,
        arguments: Mapping[str, Any] | None = None,
        data: DataConfig | None = None,
    ) -> None:
        super().__init__(network, features, in_chans=in_chans, aux=bool(aux))
        self.entry, self.arguments = entry, copy.deepcopy(dict(arguments or {}))
        self.origin = Origin(entry, self.arguments) if entry else None
        self.data = data or DataConfig()
        self._class_names: tuple[str, ...] | None = None
        self._task: str | None = None  # None: the default of the number of outputs
        self.report: Report | None = None  # of the last `load_weights`
        self.head = head
        self.aux: nn.ModuleDict | dict[str, nn.Module] = aux or {}

    def _hint(self, name: str) -> str:
        return OTHER_NAMES.get(name) or super()._hint(name)

    # --- attributes -------------------------------------------------------------------------------------------------
    @property
    def num_classes(self) -> int:
        """Number of classes, the width of the last linear layer; 0 if the model returns features."""
        return self.head.num_classes if isinstance(self.head, ClassifierHead) else output_width(self.head, default=0)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the outputs, two for one binary output; None if there are none or not as many as outputs."""
        names = self._class_names
        return names if names is not None and len(names) in name_counts(self.num_classes, self.task) else None

    @class_names.setter
    def class_names(self, names: tuple[str, ...] | list[str] | None) -> None:
        if names is None:
            self._class_names = None
        else:
            self.set_class_names(names)

    @property
    def task(self) -> str:
        """What the outputs are, and so what `fit`, `evaluate` and `predict` do with them.

        "multiclass": one class of several. "binary": one logit, the second class against the first. "multilabel": a logit for
        each label. "regression": values. `fit` sets it. Without, or if the number of outputs does not fit it any more, it is
        "binary" for one output and else "multiclass".
        """
        task, count = self._task, self.num_classes
        return task if task is not None and task_fits(task, count) else default_task(count)

    @task.setter
    def task(self, task: str) -> None:
        self._task = check_task(task, self.num_classes)

    @property
    def global_pool(self) -> GlobalPool:
        """Kind of global pooling: "avg", "max", "avgmax", "catavgmax", or "" for none or a head of your own."""
        return self.head.global_pool if isinstance(self.head, ClassifierHead) else ""

    @property
    def drop_rate(self) -> float:
        """Dropout rate of the head; 0 for a head of your own."""
        return self.head.drop_rate if isinstance(self.head, ClassifierHead) else 0.0

    @property
    def num_features(self) -> int:
        """Channels of the map that `forward_features` returns."""
        return int(self.stage_info([self.network.stages[-1][0]])[0]["num_chs"])

    @property
    def head_hidden_size(self) -> int:
        """Number of pre-logits, the inputs of the classifier; `num_features` for a head of your own."""
        return self.head.num_features if isinstance(self.head, ClassifierHead) else self.num_features

    @property
    def is_channels_last(self) -> bool:
        """Whether the convolution weights are in torch's channels_last memory format."""
        weights = [weight for weight in self.parameters() if weight.ndim == 4 and not weight.is_contiguous()]
        return any(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)

    def _own_cfg(self) -> dict[str, Any]:
        architecture = self.entry.name if self.entry else None
        return {"architecture": architecture, "num_classes": self.num_classes, "classifier": "head.fc", **asdict(self.data)}

    # --- forward ----------------------------------------------------------------------------------------------------
    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits, or the pre-logits: (n, num_features, h', w') -> (n, num_classes) or (n, head_hidden_size).

        Raises:
            ArgumentError: `pre_logits=True`, and the head is a module of your own.
        """
        if pre_logits and not isinstance(self.head, ClassifierHead):
            kind = type(self.head).__name__
            raise ArgumentError(
                f"pre_logits=True needs a head of this library; the model's is a {kind}: call its layers yourself"
            )
        x = self.head(x, pre_logits=True) if pre_logits else self.head(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs.

        Raises:
            InputError: the images are no tensor, or have another dtype, rank, number of channels, or a size that does not fit.
        """
        self._input_check(x, self, head=True)
        return self.forward_head(self.forward_features(x))

    def forward_aux(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and a dict of the logits of each auxiliary head by stage name. All are (n, num_classes).

        Raises:
            InputError: the images are no tensor, or have another dtype, rank, number of channels, or a size that does not fit.
        """
        self._input_check(x, self, head=True, aux=True)
        aux_logits = {}
        for name, stage in self.features.named_children():
            x = self.run_stage(stage, x)
            if name in self.aux:
                aux_logits[name] = self.aux[name](x)
        return self.forward_head(x), aux_logits

    # --- changes ----------------------------------------------------------------------------------------------------
    def get_classifier(self) -> nn.Module:
        """Return the last linear layer, or the whole head if it is a module of your own."""
        return self.head.fc if isinstance(self.head, ClassifierHead) else self.head

    def reset_classifier(self, num_classes: int, global_pool: GlobalPool | None = None) -> None:
        """Replace the classifier, and the classifiers of the auxiliary heads, by new ones with random weights.

        With `num_classes=0` the model returns features. `global_pool=None` keeps the pooling; if it was removed, a
        classifier brings back the last one, average pooling if there was none. Hidden layers of the head keep their weights,
        unless the new pooling changes their shapes. With another `num_classes` the class names and the task are forgotten.

        Raises:
            ArgumentError: `num_classes` is negative, or is above 0 with `global_pool=""`.
        """
        num_classes = plain_int(num_classes)
        reference, head, before = self._reference(), self.head, self.num_classes
        if not isinstance(head, ClassifierHead):  # of the user's own: start again from the specification
            spec = self.network.head
            with torch.device("meta"):
                head = ClassifierHead(spec, self.num_features, 0, "", spec.drop_rate, self.network.spatial_dims)
            global_pool = "avg" if global_pool is None else global_pool
        self.head = head.with_classes(num_classes, global_pool, reference)
        if num_classes != before:
            self.class_names = self._task = None
        for aux_head in self.aux.values():
            if isinstance(aux_head, AuxHead):
                aux_head.head = aux_head.head.with_classes(num_classes, None, reference)

    def prune_intermediate_layers(
        self,
        indices: Indices = 1,
        prune_norm: bool = False,  # noqa: ARG002  # timm's signature
        prune_head: bool = True,
    ) -> list[int | str]:
        """Remove the stages after the last of `indices`, and the head. Return the indices, as timm does.

        `prune_head=False` keeps the head if no stage is removed. `indices` are those of `forward_intermediates`.
        A pruned model has no `entry`; `save_weights` writes its network to the file.

        Raises:
            ArgumentError: an index is not a level, a name is not a stage, or a stage has no map before its activation.
        """
        names = self.tap_names(indices)
        kept_indices, channels = self.level_indices(names), self.stage_info(names)[-1]["num_chs"]
        truncated = self.truncate(names[-1])
        if truncated or prune_head:
            reference = self._reference()
            head = ClassifierHead(Head(), channels, 0, "", self.drop_rate, self.network.spatial_dims)
            self.head = head.to(reference.device).train(self.training)
            if self.aux:
                del self.aux  # a module, which a dict cannot replace
                self.aux = {}
            self.network = replace(self.network, head=Head())
            if self.fused_record is not None:
                self.fused_record = self.fused_record.without(["head"])
            self.entry, self.arguments, self.class_names, self._task = None, {}, None, None
        return kept_indices

    def set_input_size(self, img_size: int | Sequence[int]) -> None:
        """Set the image size of `transforms` and `predict` in pixels, an int or (height, width).

        Raises:
            ArgumentError: the size is not an int, or a tuple or list of one int per dimension.
            InputError: the size is smaller than the network accepts.
        """
        dims = self.network.spatial_dims
        sides = img_size if isinstance(img_size, tuple | list) else (img_size,) * dims
        if len(sides) != dims:
            raise ArgumentError(f"img_size={img_size!r} must be an int or ({', '.join(AXES[dims])})")
        sides = tuple(check_int("img_size", plain_int(side), 1) for side in sides)
        try:
            self._input_check.check_size(sides)
        except InputError as error:
            raise InputError(f"img_size={img_size!r}: {error}") from error
        self.data = self.data.sized(self.in_chans, *sides)

    def set_class_names(self, names: tuple[str, ...] | list[str]) -> None:
        """Set the class names, in the order of the outputs; for one binary output, those of a low and of a high logit.

        Raises:
            ArgumentError: the number of names is not the number of classes, or two are equal.
        """
        self._class_names = check_class_names(names, self.num_classes, self.task)
