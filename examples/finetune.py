"""Fine-tune or train a model on a folder of images, evaluate and plot it, and save it: the command `inceptionzoo train`.

python examples/finetune.py moles --model googlenet --pretrained                 # published weights, a new classifier
python examples/finetune.py moles --weights mine.safetensors --freeze-epochs 2   # a file; first train only the classifier
python examples/finetune.py moles --size 128 --augment --balance --adamw --ema 0.99   # from random weights
"""

import sys

from inceptionzoo.cli import run

if __name__ == "__main__":
    sys.exit(run(["train", "--out", "runs/finetune", *sys.argv[1:]]))
