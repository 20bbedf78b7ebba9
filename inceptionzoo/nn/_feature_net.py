"""A network that returns feature maps of several resolutions, as an encoder for segmentation or detection.

Annotations are evaluated here, as in `_net`.
"""

from collections.abc import Sequence
from typing import Any, overload

from torch import Tensor

from ._backbone import Backbone, Indices
from ._net import Net


class FeatureInfo:
    """The channels, reduction and module name of each map of a `FeatureNet`, with the methods of timm's FeatureInfo.

    `idx` is an index, a sequence of indices, or None for all maps.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], out_indices: Sequence[int | str]) -> None:
        self.info, self.out_indices = tuple(rows), tuple(out_indices)

    def _column(self, key: str, idx: int | Sequence[int] | None) -> Any:
        if isinstance(idx, int):
            return self.info[idx][key]
        return [self.info[index][key] for index in (range(len(self.info)) if idx is None else idx)]

    @overload
    def channels(self, idx: Sequence[int] | None = None) -> list[int]: ...
    @overload
    def channels(self, idx: int) -> int: ...
    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        """Return the number of channels of each map of `idx`."""
        return self._column("num_chs", idx)

    @overload
    def reduction(self, idx: Sequence[int] | None = None) -> list[int]: ...
    @overload
    def reduction(self, idx: int) -> int: ...
    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """Return the factor by which each map of `idx` is smaller than the image."""
        return self._column("reduction", idx)

    @overload
    def module_name(self, idx: Sequence[int] | None = None) -> list[str]: ...
    @overload
    def module_name(self, idx: int) -> str: ...
    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """Return the name of the module that gives each map of `idx`."""
        return self._column("module", idx)

    @overload
    def get_dicts(self, keys: Sequence[str] | None = None, idx: Sequence[int] | None = None) -> list[dict[str, Any]]: ...
    @overload
    def get_dicts(self, keys: Sequence[str] | None = None, *, idx: int) -> dict[str, Any]: ...
    def get_dicts(self, keys: Sequence[str] | None = None, idx: int | Sequence[int] | None = None) -> Any:
        """Return a dict with num_chs, reduction and module, or only with `keys`, for each map of `idx`."""
        rows = self.info if idx is None else [self.info[index] for index in ([idx] if isinstance(idx, int) else idx)]
        dicts = [{key: row[key] for key in keys or row} for row in rows]
        return dicts[0] if isinstance(idx, int) else dicts

    def __len__(self) -> int:
        return len(self.info)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.info[index]


class FeatureNet(Backbone[list[Tensor]]):
    """The stages of a model up to the last selected map: (n, in_chans, h, w) -> [(n, c, h', w'), ...], the finest first.

    `out_indices` selects the maps like `indices` of `Net.forward_intermediates`. The network shares the stages, `entry`,
    `data`, `report` and `pretrained_cfg` of `model`.
    """

    feature_info: FeatureInfo  # type: ignore[assignment]  # as in timm: a list for a model, this class for a feature network

    def __init__(self, model: Net, out_indices: Indices = None) -> None:
        super().__init__(model.network, model.features, in_chans=model.in_chans)
        self.fused, record = model.fused, model.fused_record
        self.fused_record = None if record is None else record.without(["head"])
        self.copy_settings(model)
        self.training = model.training  # not `self.train()`: the stages keep their modes
        self.taps = self.tap_names(out_indices, argument="out_indices")
        indices = self.level_indices(self.taps)
        rows = model.stage_info(self.taps)
        self.truncate(self.taps[-1])
        self.feature_info = FeatureInfo(rows, indices)
        self.entry, self.data, self.report, self.arguments = model.entry, model.data, model.report, model.arguments
        self.pretrained_cfg = model.pretrained_cfg
        self.origin, self.removed = model.origin, model.removed + self.removed

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the selected maps.

        Raises:
            InputError: the images are no tensor, or have another dtype, rank, number of channels, or a size that does not fit.
        """
        self._input_check(x, self, head=False)
        return self.forward_stages(x, self.taps)[1]
