"""Calls that mypy must refuse: where one is let through, its `type: ignore` is unused, which is an error too."""

from pathlib import Path

import torch
from torch import Tensor, nn

import inceptionzoo as iz

model = iz.create_model("googlenet", num_classes=2)
features = iz.create_model("googlenet", features_only=True)
batches = [(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))]
history = iz.fit(model, batches, epochs=1)
result = iz.evaluate(model, batches)
report = iz.load_weights(model, "mine.safetensors")
table = iz.network(stem=iz.Conv(8))

# what is made
iz.create_model(3)  # type: ignore[call-overload]
iz.create_model("googlenet", pretrained="tv_in1k")  # type: ignore[call-overload]
net: iz.Net = iz.create_model("googlenet", features_only=True)  # type: ignore[assignment]
maps: iz.FeatureNet = iz.create_model("googlenet")  # type: ignore[assignment]
features.reset_classifier(2)  # type: ignore[operator]
print(features.feature_info.nothing)  # type: ignore[attr-defined]
model.reset_classifier("2")  # type: ignore[arg-type]
model.reset_classifier(2, global_pool="mean")  # type: ignore[arg-type]
model.set_class_names({"benign": 0})  # type: ignore[arg-type]
model.num_classes = 3  # type: ignore[misc]
model.class_names.append("x")  # type: ignore[union-attr]
iz.list_models(pretrained="yes")  # type: ignore[arg-type]
iz.model_info("googlenet").params = 3  # type: ignore[misc]
size: tuple[int, int] = iz.model_info("googlenet").input_size  # type: ignore[assignment]

# what is composed
iz.Conv("32")  # type: ignore[arg-type]
iz.Conv(32, padding="full")  # type: ignore[arg-type]
iz.Pool("median")  # type: ignore[arg-type]
iz.Head("linear")  # type: ignore[arg-type]
iz.Style(norm="instance")  # type: ignore[arg-type]
iz.chain(iz.Conv(8), nn.ReLU())  # type: ignore[arg-type]
iz.concat(one=3)  # type: ignore[arg-type]
iz.inception(64, 96, 128, 16, 32)  # type: ignore[call-arg]
iz.network(stem=nn.Conv2d(3, 8, 3))  # type: ignore[arg-type]
iz.build(nn.ReLU(), in_channels=3)  # type: ignore[call-overload]
iz.register_model("mine", table, input_size=[3, 64, 64])  # type: ignore[arg-type]
iz.summary(3)  # type: ignore[arg-type]
iz.draw(table, detail="all")  # type: ignore[arg-type]

# what is trained and judged
iz.fit(model, batches)  # type: ignore[call-arg]
iz.fit(model, batches, batches, 3)  # type: ignore[call-arg]
iz.fit(features, batches, epochs=1)  # type: ignore[arg-type]
iz.fit(model, batches, epochs=1, learning_rate=0.1)  # type: ignore[call-arg]
iz.fit(model, batches, epochs=1, precision="int8")  # type: ignore[arg-type]
iz.fit(model, batches, epochs=1, scheduler_step="batch")  # type: ignore[arg-type]
iz.fit(model, batches, epochs=1, resume="never")  # type: ignore[arg-type]
iz.fit(model, batches, epochs=1, metrics={"auc": 0.9})  # type: ignore[dict-item]
iz.fit(model, [torch.randn(2, 3, 32, 32)], epochs=1)  # type: ignore[list-item]
best: float = history.best  # type: ignore[assignment]
word: str = history.best["auc"]  # type: ignore[assignment]
curve: Tensor = result.roc  # type: ignore[assignment]
result.auc = 1.0  # type: ignore[misc]
iz.evaluate("model.pth", batches)  # type: ignore[arg-type]
iz.transforms(nn.ReLU())  # type: ignore[arg-type]
iz.predict(nn.ReLU(), "mole.jpg")  # type: ignore[call-overload]
iz.predict(model, "mole.jpg", topk="all")  # type: ignore[call-overload]
iz.Ensemble([features])  # type: ignore[list-item]
iz.Ensemble([model], weights=0.5)  # type: ignore[arg-type]
iz.fuse(3)  # type: ignore[type-var]
iz.with_aux(features)  # type: ignore[arg-type]

# what is kept
iz.save_weights("m.safetensors", model)  # type: ignore[arg-type]
iz.save_weights(model, Path("m"), class_names="benign")  # type: ignore[arg-type]
iz.load_model(model)  # type: ignore[arg-type]
iz.load_weights(model, 3)  # type: ignore[arg-type]
iz.export_weights(model, "m.pth")  # type: ignore[call-arg]
iz.convert("a.pth", "b.safetensors", architecture=3)  # type: ignore[arg-type]
report.left_random = "fc.weight"  # type: ignore[assignment]
