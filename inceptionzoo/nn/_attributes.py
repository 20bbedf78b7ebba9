"""What a `Net` and a `FeatureNet` share besides their stages: the preprocessing, and the errors for names they do not have.

Annotations are evaluated here, as in `_net`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from ..errors import ArgumentError
from ..spec import DataConfig, Network

OWN_PARTS = "features", "head", "aux"
SETTERS = {  # a read-only attribute: what changes it
    "num_classes": "model.reset_classifier(num_classes) changes it",
    "global_pool": "model.reset_classifier(num_classes, global_pool) changes it",
    "drop_rate": "set model.head.drop.p",
    "is_channels_last": "model.to(memory_format=torch.channels_last) changes it",
}
OTHER_STATE = (
    "inceptionzoo.load_weights(model, state_dict) also takes the names of other libraries and names behind a prefix, and "
    "with new_head=True another number of classes"
)


class Attributes(nn.Module):
    """The base of `Backbone`: `data` is the preprocessing of images, and `pretrained_cfg` holds it for timm."""

    network: Network
    _timm_cfg: dict[str, Any] | None = None  # set by timm's registry

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        Raises:
            ArgumentError: it is a module under a name at which no forward pass would use it: that of a stage, or of a part of
                torchvision's or timm's models.
            AttributeError: it is read-only; the message says what changes it.
        """
        if isinstance(value, nn.Module) and (hint := self._hint(name)):
            raise ArgumentError(f"model.{name} is not used: {hint}")
        try:
            super().__setattr__(name, value)
        except AttributeError as error:
            if name in SETTERS:
                raise AttributeError(f"{error}; {SETTERS[name]}") from None
            raise

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        """Return a parameter, buffer or module, as torch does.

        Raises:
            AttributeError: there is none. For a stage and for names of other libraries, the message says where the part is.
        """
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            if hint := self._hint(name):
                raise AttributeError(f"{error}; {hint}") from None
            raise

    def _hint(self, name: str) -> str:
        """Return where the part of this name is, or "" if the model itself has it or nothing is known of it."""
        network = vars(self).get("network")  # there is none yet while the model is made or copied
        is_stage = network and name in dict(network.stages) and name not in OWN_PARTS
        return f"the stage is model.features.{name}" if is_stage else ""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state dict with exactly the model's names and shapes, as torch does.

        Raises:
            RuntimeError: the state dict has others.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n\t{OTHER_STATE}") from error

    @property
    def data(self) -> DataConfig:
        """The preprocessing of images. To change it is to change `pretrained_cfg`, and therefore what timm does."""
        data: DataConfig = vars(self)["data"]
        return data

    @data.setter
    def data(self, data: DataConfig) -> None:
        if not isinstance(data, DataConfig):
            raise ArgumentError(f"data={data!r} must be a DataConfig, for example dataclasses.replace(model.data, mean=...)")
        vars(self)["data"] = data
        if self._timm_cfg is not None:
            self._timm_cfg = {**self._timm_cfg, **asdict(data)}

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """The model's configuration in timm's format: architecture, preprocessing, classifier. timm's registry can set it."""
        return self._own_cfg() if self._timm_cfg is None else self._timm_cfg

    @pretrained_cfg.setter
    def pretrained_cfg(self, cfg: dict[str, Any]) -> None:
        self._timm_cfg = cfg

    def _own_cfg(self) -> dict[str, Any]:
        raise NotImplementedError

    default_cfg = pretrained_cfg  # the older name in timm
