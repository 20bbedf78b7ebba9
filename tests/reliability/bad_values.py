"""Bad values for every argument of every public function: wrong types, out of range, bool for int, NaN, huge numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import timm.data  # noqa: F401  # it runs operators when it is imported
import torch
from bad_specs import CHOICES, COUNTS, DATA, FLAGS, HUGE, NAN, NATURALS, NOT_INTS, NUMBERS, RATES, Table, network_functions
from hostile import TINY
from torch import nn

import inceptionzoo as iz

NOT_MODELS = (nn.Linear(1, 1), "googlenet", 7, None)
NOT_PATHS = (7, None, True, ["x"])
DEVICES = ("gpu", 1.5, "cuda:99", ["cpu"])
THREES = ("x", 7, (1, 1), ("x", 1, 1), (True, 1, 1), (NAN, 1, 1), (-1, 1, 1), (0, 1, 1))
NET = iz.network(stem=iz.Conv(4, 3))
BATCH = [(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))]

HEAD: Table = {
    "num_classes": NATURALS,
    "in_chans": (*NOT_INTS, 0, -1, HUGE),
    "global_pool": CHOICES,
    "drop_rate": RATES,
    "device": DEVICES,
    "dtype": ("float32", torch.int64, torch.complex64, float, 7),
}
VARIANTS: Table = {
    "padding": CHOICES,
    "include_pad": (1, "yes", np.bool_(True)),
    "ceil_mode": CHOICES,
    "output_stride": (*NOT_INTS, 0, -8, 3, 64),
    "spatial_dims": (*NOT_INTS, 0, 4),
    "time_padding": ("reflect", 7, True),
    "act_layer": CHOICES,
    "norm_layer": CHOICES,
}


def bad_values(model: iz.Net, path: Path) -> dict[str, tuple[Callable[..., object], Table]]:
    """Return {name: (function with valid arguments, {argument: bad values})}; `path` is a weight file of the model."""
    create = iz.create_model
    own = {
        "googlenet": {"five": (4, "5", 5.0, True, (3,)), "pools": CHOICES, "pool4": (4, True, "3", 3.0), "norm": CHOICES},
        "googlenet_paper": {"aux_pool": CHOICES},
        "bn_inception": {"widths": CHOICES},
        "inception_v3": {"last_pool": CHOICES, "aux": FLAGS, "include_pad": FLAGS},
        "vgg16_bn": {"head": CHOICES, "batch_norm": FLAGS},
        "inception_resnet_v1": {
            "repeats": (*THREES, (10_000, 1, 1)),
            "scales": THREES[:-1],
            "last": CHOICES,
            "bottleneck": (*NOT_INTS, 0, -1, HUGE),
            "drop_path_rate": RATES,
        },
        "inception_resnet_v2": {"start": CHOICES, "final": (*NOT_INTS, 0, -1, HUGE)},
    }
    optimizer = torch.optim.SGD(model.parameters())
    tables: dict[str, tuple[Callable[..., object], Table]] = {
        "create_model": (
            partial(create, name=TINY),
            {
                **HEAD,
                **VARIANTS,
                "name": ("", "nonsense", 7, None, True, b"googlenet", ["googlenet"]),
                "pretrained": FLAGS,
                "features_only": FLAGS,
                "weights": (7, True, 1.5, ["x"], b"x", np.zeros(3), model),
                "drop_path_rate": (0.1, *RATES),
            },
        ),
        "create_model of features": (
            partial(create, TINY, features_only=True),
            {"out_indices": (99, 0, True, 1.5, (99,), ("nonsense",), (1.5,), (True,), [], "stem")},
        ),
        **{f"create_model of {name}": (partial(create, name), table) for name, table in own.items()},
        "load_model": (partial(iz.load_model, path=path), {"path": (*NOT_PATHS, {}), "device": DEVICES}),
        "register_model": (
            partial(iz.register_model, name="fresh", network=NET),
            {
                "name": ("", "a.b", "a/b", TINY, 7, None, ["x"]),
                "network": (7, None, "x", iz.Conv(3)),
                **dict.fromkeys(("paper", "about"), (7, None, ["x"])),
                "num_classes": (*NATURALS, None),
                "input_size": DATA["input_size"],
                **dict.fromkeys(("data", "recipe"), ("x", 7, {})),
                "layouts": ("x", 7, ("x",), None),
            },
        ),
        "load_weights": (
            partial(iz.load_weights, model=model, source=model.state_dict()),
            {"model": NOT_MODELS, "source": (*NOT_PATHS, model, b"x"), "new_head": FLAGS},
        ),
        "save_weights": (
            partial(iz.save_weights, model=model, path=path.with_name("unused.safetensors")),
            {
                "model": NOT_MODELS,
                "path": NOT_PATHS,
                "class_names": ("abc", ["a"], [1, 2, 3], ["a", "a", "b"], 7),
                "metrics": (7, "x", ["auc"], {"auc": NAN}, {"auc": "x"}, {"auc": True}, {7: 0.5}),
            },
        ),
        "export_weights": (
            partial(iz.export_weights, model=model, path=path.with_name("unused.pth"), layout="theirs"),
            {"model": NOT_MODELS, "path": NOT_PATHS, "layout": CHOICES},
        ),
        "fit": (
            partial(iz.fit, model=model, train=BATCH, epochs=1),
            {
                "model": NOT_MODELS,
                "train": (None, 7, "x"),
                "val": (7, "x"),
                "epochs": COUNTS,
                **dict.fromkeys(("lr", "momentum", "weight_decay"), NUMBERS),
                "optimizer": ("adam", 7, torch.optim.SGD),
                "task": (*CHOICES, "binary"),
                "unpack": ("x", 7),
                "loss": ("cross_entropy", 7),
                "scheduler_step": (*CHOICES, "step"),
                "clip_grad_norm": (*NUMBERS, 0),
                "freeze_up_to": CHOICES,
                "label_smoothing": RATES,
                "class_weights": (
                    [1, 2],
                    [1, "x", 2],
                    {0: 1.0},
                    "x",
                    torch.ones(2),
                    torch.full((3,), NAN),
                    -torch.ones(3),
                ),
                "channels_last": FLAGS,
                "monitor": (*CHOICES, "val_loss", "mae"),
                "out": (NOT_PATHS[0], *NOT_PATHS[2:]),
                "seed": ("x", 1.5, True, [1], 2**70),
                "device": DEVICES,
                "progress": (1, "yes"),
                "callbacks": (7, "x", [7], None),
            },
        ),
        "fit with an optimizer": (
            partial(iz.fit, model, BATCH, epochs=1, optimizer=optimizer),
            {"scheduler": ("cosine", 7, torch.optim.lr_scheduler.CosineAnnealingLR), "lr": (0.1,), "momentum": (0.9,)},
        ),
        "evaluate": (
            partial(iz.evaluate, model=model, loader=BATCH),
            {
                "model": ("googlenet", 7, None),
                "loader": (None, 7, "x"),
                "task": (*CHOICES, "binary"),
                "unpack": ("x", 7),
                "loss": ("cross_entropy", 7),
                "device": DEVICES,
            },
        ),
        "predict": (
            partial(iz.predict, model=model, image=BATCH[0][0][0]),
            {
                "model": NOT_MODELS,
                "image": (7, None, [[]], BATCH[0][0], np.zeros(3)),
                **dict.fromkeys(("topk", "batch_size"), (*NOT_INTS, 0, -1)),
            },
        ),
        "open_image": (
            partial(iz.open_image, np.zeros((2, 2), np.uint8)),
            {"channels": (*NOT_INTS, 0, 2, True), "background": ("nonsense", 7, None), "max_value": (*NUMBERS, 0)},
        ),
        "transforms": (partial(iz.transforms, model=model), {"model": NOT_MODELS, "training": FLAGS, "nonsense": (1,)}),
        "with_aux": (partial(iz.with_aux, model=model), {"model": NOT_MODELS}),
        "draw": (
            partial(iz.draw, model=TINY),
            {
                "model": ("nonsense", 7, None),
                "path": (7, "x.png"),
                "detail": ("all", 7),
                "input_size": ("224", 224, (3, 224), (3, 0, 224)),
            },
        ),
        "summary": (
            partial(iz.summary, model=TINY),
            {"model": ("nonsense", 7, None), "input_size": ("224", 224, (3, 224), (3, 0, 224), (3, 9.5, 9), (True, 9, 9))},
        ),
        "list_models": (iz.list_models, {"filter": (7, [7], None), "exclude_filters": (7, [7], None), "pretrained": FLAGS}),
        "model_info": (partial(iz.model_info, name=TINY), {"name": ("nonsense", 7, None, ["x"])}),
        "is_model": (partial(iz.is_model, name=TINY), {"name": (7, None, ["x"])}),
    }
    return tables | network_functions() | model_methods(model)


def model_methods(model: iz.Net) -> dict[str, tuple[Callable[..., object], Table]]:
    """Return the same for a model's methods."""
    return {
        "reset_classifier": (
            partial(model.reset_classifier, num_classes=2),
            {"num_classes": (*NATURALS, None), "global_pool": CHOICES},
        ),
        "set_input_size": (
            partial(model.set_input_size, img_size=8),
            {"img_size": (*COUNTS, (8,), (8, 8, 8), (8, 0), "8")},
        ),
        "set_class_names": (
            partial(model.set_class_names, names=[*"abc"]),
            {"names": ("abc", ["a"], [1, 2, 3], 7, None, ["a", "a", "b"])},
        ),
        "set_grad_checkpointing": (model.set_grad_checkpointing, {"enable": FLAGS}),
        "forward_intermediates": (
            partial(model.forward_intermediates, BATCH[0][0]),
            {"indices": (99, 0, True, 1.5, (99,), ("nonsense",), [], (1.5,)), "output_fmt": ("NHWC", 7)},
        ),
    }
