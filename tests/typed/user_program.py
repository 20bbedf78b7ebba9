"""What a user of the library writes, for mypy --strict alone: every name of `iz.__all__`, with the types that it must have.

`assert_type` is exact: where a result is known no better than as Any, the check fails.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, assert_type

import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, TensorDataset

import inceptionzoo as iz

Pairs = list[tuple[Tensor, Tensor]]


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale: Tensor = self.fc(x.mean((2, 3)))
        return x * scale.sigmoid()[..., None, None]


def make(name: str) -> iz.Net:
    assert_type(iz.list_models("vgg*", exclude_filters=["*_cifar"]), list[str])
    assert_type(iz.is_model(name), bool)
    iz.interop.timm.register()
    info = assert_type(iz.model_info(name), iz.ModelInfo)
    assert_type((info.params, info.macs, info.min_input_size, info.complete), tuple[int, int, int, bool])
    assert_type(info.input_size, tuple[int, ...])
    assert_type(info.weights, Mapping[str, iz.Published])
    model = assert_type(iz.create_model(name, num_classes=2, in_chans=1, dtype=torch.float64), iz.Net)
    assert_type(iz.create_model(name, pretrained=True, cache_dir=Path("cache")), iz.Net)
    assert_type(iz.create_model("googlenet", weights="mine.pth", padding="same", act_layer=nn.SiLU), iz.Net)
    return model


def look(model: iz.Net, x: Tensor) -> None:
    assert_type(model(x), Tensor)
    assert_type(model.forward_features(x), Tensor)
    assert_type(model.forward_head(x, pre_logits=True), Tensor)
    assert_type(model.forward_intermediates(x, indices=[-1, "inception4a"]), tuple[Tensor, list[Tensor]])
    assert_type(model.forward_intermediates(x, intermediates_only=True), list[Tensor])
    assert_type((model.num_classes, model.num_features, model.head_hidden_size, model.in_chans), tuple[int, int, int, int])
    assert_type(model.class_names, tuple[str, ...] | None)
    assert_type(model.get_classifier(), nn.Module)
    assert_type(model.data, iz.DataConfig)
    assert_type(model.entry, iz.Entry | None)
    assert_type(model.report, iz.Report | None)
    assert_type(model.no_weight_decay(), set[str])
    assert_type(model.eval(), iz.Net)
    model.reset_classifier(5, global_pool="max")
    model.set_input_size((224, 320))
    model.set_class_names(["a", "b", "c", "d", "e"])
    model.set_grad_checkpointing()
    assert_type(model.prune_intermediate_layers([0, 2]), list[int | str])


def encode(x: Tensor, flag: bool) -> list[int]:
    features = assert_type(iz.create_model("googlenet", features_only=True, out_indices=(1, "inception5b")), iz.FeatureNet)
    assert_type(iz.create_model("googlenet", features_only=flag), iz.Net | iz.FeatureNet)
    assert_type(features(x), list[Tensor])
    info = assert_type(features.feature_info, iz.FeatureInfo)
    assert_type((info.channels(0), info.reduction(-1), info.module_name(0)), tuple[int, int, str])
    assert_type((info.reduction(), info.module_name([0, 1])), tuple[list[int], list[str]])
    return info.channels()


def compose() -> iz.Network:
    mine: iz.Concat = iz.concat(
        local=iz.Conv(32, act=False),
        wide=iz.chain(iz.Conv(16), iz.Conv(32, (1, 7), padding="same"), iz.Conv(32, (7, 1))),
        apart=iz.chain(iz.Depthwise(3), iz.Conv(8), iz.Norm("lrn"), iz.Act()),
    )
    layer: iz.Layer = iz.Chain((mine, iz.Op(Gate, out=72), iz.Residual(iz.Conv(8, 3), scale=0.2)))
    table = iz.network(
        {"stem": iz.Conv(24, 3, 2), "down": iz.Pool("max", 3, 2, ceil=True)},
        mixed=layer,
        row=iz.inception(64, 96, 128, 16, 32, 32),
        last=iz.models.inception_v4.inception_a(),
        head=iz.Head("mlp", hidden=(64,), size=2),
        style=iz.Style(norm="group", act=nn.SiLU),
        aux=(iz.Aux("mixed", iz.Pool("adaptive_avg", 2), iz.Head()),),
    )
    assert_type(iz.build(mine, in_channels=24, norm=None), nn.Module)
    assert_type(iz.build(table), iz.Net)
    iz.register_model("mine", table, num_classes=2, data=iz.DataConfig(input_size=(3, 64, 64)), recipe=iz.Recipe(lr=0.01))
    iz.register_model("theirs", lambda: table, layouts=(iz.Layout("lightning", (("features.", "net."),)),))
    told = assert_type(iz.summary(table, input_size=(3, 64, 64)), iz.Summary)
    assert_type(told.total.cost, iz.Cost)
    assert_type(told.rows[0].cost.shape, iz.Shape)
    assert_type(iz.draw(layer, "mine.svg", detail="full"), iz.Drawing)
    return table


def train(model: iz.Net, folder: Path) -> float:
    loader = DataLoader(TensorDataset(torch.randn(8, 3, 32, 32), torch.arange(8) % 2), batch_size=4)
    batches: Pairs = [(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))]
    optimizer, schedule = iz.train.recipe(model, epochs=2, layer_decay=0.8)
    assert_type(schedule, LRScheduler)

    def show(model: nn.Module, row: dict[str, float]) -> None:
        print(type(model).__name__, row["loss"])

    own: dict[str, Callable[[iz.Result], float]] = {"found": lambda result: result.sensitivity(0.9)}
    both = assert_type(iz.with_aux(model), iz.Net)
    assert_type(iz.inflate(model, length=16), iz.Net)
    assert_type(both.forward_aux(batches[0][0]), tuple[Tensor, dict[str, Tensor]])
    history = iz.fit(both, loader, batches, epochs=2, optimizer=optimizer, metrics=own, monitor="found", callbacks=[show])
    assert_type(history, iz.History)
    iz.fit(model, loader, epochs=2, precision="bf16", out=folder, callbacks=[iz.train.tensorboard(folder)])
    iz.train.Losses(model, nn.functional.cross_entropy)
    assert_type(iz.train.use_kernels(model), iz.Net)
    history.to_csv(folder / "history.csv")
    assert_type(history.epochs, list[dict[str, float]])
    return history.best["val_auc"]


def judge(model: iz.Net | iz.Ensemble, batches: Pairs) -> float:
    result = assert_type(iz.evaluate(model, batches), iz.Result)
    assert_type(
        (result.loss, result.accuracy, result.balanced_accuracy, result.calibration_error), tuple[float, float, float, float]
    )
    assert_type((result.probabilities, result.targets, result.confusion), tuple[Tensor, Tensor, Tensor])
    assert_type(result.roc, list[tuple[Tensor, Tensor, Tensor]])
    assert_type(result.class_names, tuple[str, ...])
    result.plot_roc("roc.png")
    assert_type(iz.evaluation.evaluate(model, batches).sensitivity(), float)
    prepare = assert_type(iz.transforms(model, training=True, scale=(0.5, 1.0)), Callable[[Any], Tensor])
    prepare(Image.new("RGB", (8, 8)))
    assert_type(iz.predict(model, "mole.jpg", topk=1), list[tuple[str, float]])
    assert_type(iz.predict(model, ["mole.jpg", b"bytes"], batch_size=2), list[list[tuple[str, float]]])
    assert_type(iz.open_image("mole.jpg", channels=1, background="black", max_value=4095), Image.Image)
    return result.auc


def combine(first: iz.Net, second: iz.Net, batches: Pairs, x: Tensor) -> iz.Ensemble:
    both = iz.Ensemble([first, second], weights=[1, 2.5])
    assert_type(both(x), Tensor)
    assert_type(both.fit_weights(batches), list[float])
    both.save("both.safetensors")
    assert_type(iz.fuse(first), iz.Net)
    assert_type(iz.inference.fuse(both, tune=False, cache=False), iz.Ensemble)
    assert_type(iz.inference.fuse_convolutions(nn.Sequential(), torch.ones(1)), nn.Sequential)
    assert_type(iz.inference.tuning_cache_folder(), Path)
    assert_type(iz.inference.clear_tuning_cache(), int)
    return iz.Ensemble.load("both.safetensors")


def keep(model: iz.Net, state: dict[str, Tensor], folder: Path) -> iz.Report:
    iz.save_weights(model, folder / "m.safetensors", class_names=["benign", "malignant"], metrics={"auc": 0.9})
    iz.weights.save_weights(model, "m.safetensors")
    assert_type(iz.load_model(folder / "m.safetensors", device="cpu"), iz.Net)
    assert_type(iz.convert("theirs.pth", "ours.safetensors", architecture="googlenet_cifar", num_classes=2), iz.Report)
    iz.export_weights(model, "theirs.pth", layout="torchvision")
    iz.save_pretrained(model, folder, license="mit", datasets=["owner/moles"])
    assert_type(iz.push_to_hub(model, "owner/name", private=True, description="Moles"), str)
    report = iz.load_weights(model, state, new_head=True)
    assert_type((report.layout, report.renamed, report.left_random), tuple[str, dict[str, str], list[str]])
    return report


def caught(call: Callable[[], iz.Net]) -> iz.Net | str:
    try:
        return call()
    except (
        iz.UnknownModelError,
        iz.KeywordError,
        iz.ArgumentError,
        iz.SpecError,
        iz.InputError,
        iz.ImageError,
        iz.TrainingError,
    ) as error:
        return str(error)
    except (iz.RefusedError, iz.DownloadError, iz.FileError, iz.MismatchError, iz.WeightsError) as error:
        return str(error)
    except iz.ZooError as error:
        assert_type(error, iz.errors.ZooError)
        raise
