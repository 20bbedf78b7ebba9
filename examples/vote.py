"""Combine models of finetune.py into an ensemble, and average the predictions for rotated and mirrored images.

for s in 0 1 2; do python examples/finetune.py moles --seed $s --out runs/$s; done
python examples/vote.py moles/val runs/0 runs/1 runs/2
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import inceptionzoo as iz


class Views(nn.Module):
    """The mean of a model's probabilities for eight views of an image: rotated by multiples of 90 degrees, and mirrored.

    Use it for square images without an upright direction: (n, c, h, h) -> (n, num_classes). The output is the log of the
    mean, like that of an `Ensemble`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        turned = [x.rot90(quarters, (2, 3)) for quarters in range(4)]
        logs = [self.model(view).log_softmax(1) for view in (*turned, *(view.flip(3) for view in turned))]
        return torch.stack(logs).logsumexp(0) - torch.tensor(len(logs)).log()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with one folder for each class, not used in training")
    parser.add_argument("runs", type=Path, nargs="+", help="output folders of finetune.py")
    parser.add_argument("--out", type=Path, default=Path("runs/vote"))
    asked = parser.parse_args()
    members = [iz.create_model(f"local-dir:{run}/model") for run in asked.runs]
    ensemble = iz.Ensemble(members)
    classes = tuple(ImageFolder(asked.data).classes)
    if classes != ensemble.class_names:
        raise SystemExit(f"{asked.data} has the classes {classes}, the models {ensemble.class_names}")

    print("| model | accuracy | balanced accuracy | AUC |\n| --- | ---: | ---: | ---: |")
    voters: dict[str, iz.Net | iz.Ensemble] = {**dict(zip(map(str, asked.runs), members, strict=True)), "together": ensemble}
    for name, model in voters.items():
        loader = DataLoader(
            ImageFolder(asked.data, iz.transforms(model), loader=iz.open_image), 32
        )  # with the model's own normalisation
        for label, form in ((name, model), (f"{name}, eight views", Views(model))):
            result = iz.evaluate(form, loader)
            print(f"| {label} | {result.accuracy:.3f} | {result.balanced_accuracy:.3f} | {result.auc:.3f} |", flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    result.plot_roc(asked.out / "roc.png")
    ensemble.save(asked.out / "ensemble.safetensors")


if __name__ == "__main__":
    main()
