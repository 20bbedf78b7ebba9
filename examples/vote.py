"""Several trainings of finetune.py answer together, each seeing an image turned and mirrored: more certain, without training.

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
    """A model that answers for the eight views of an image, turned by quarters and mirrored: the mean of its probabilities.

    For images without an up and a down, square ones: (n, c, h, h) -> (n, num_classes), log probabilities as of an `Ensemble`.
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
    parser.add_argument("data", type=Path, help="a folder of class folders that no member has trained on")
    parser.add_argument("runs", type=Path, nargs="+", help="folders that finetune.py wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/vote"))
    asked = parser.parse_args()
    members = [iz.create_model(f"local-dir:{run}/model") for run in asked.runs]
    images = ImageFolder(asked.data, iz.transforms(members[0]))
    if tuple(images.classes) != members[0].class_names:
        raise SystemExit(f"{asked.data} has the classes {images.classes}, the models {members[0].class_names}")
    loader, ensemble = DataLoader(images, 32), iz.Ensemble(members)

    print("| model | accuracy | balanced accuracy | AUC |\n| --- | ---: | ---: | ---: |")
    alone = {str(run): member for run, member in zip(asked.runs, members, strict=True)}
    seen = {f"{run}, eight views": Views(member) for run, member in alone.items()}
    for name, model in (alone | seen | {"together": ensemble, "together, eight views": Views(ensemble)}).items():
        result = iz.evaluate(model, loader)
        print(f"| {name} | {result.accuracy:.3f} | {result.balanced_accuracy:.3f} | {result.auc:.3f} |", flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    result.plot_roc(asked.out / "roc.png")
    ensemble.save(asked.out / "ensemble.safetensors")


if __name__ == "__main__":
    main()
