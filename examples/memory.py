"""Measure the peak memory and the time per image of a training step, for the options of `fit` that save memory.

python examples/memory.py                                   # googlenet_cifar, 224 px, an effective batch of 32
python examples/memory.py --model googlenet --size 128 --batch 8
"""

import argparse
import subprocess
import sys
import time

OPTIONS: dict[str, dict[str, object]] = {
    "plain": {},
    "channels_last": {"channels_last": True},
    "bf16": {"precision": "bf16"},
    "bf16, channels_last": {"precision": "bf16", "channels_last": True},
    "checkpoint": {"checkpoint": True},
    "checkpoint, channels_last": {"checkpoint": True, "channels_last": True},
    "checkpoint, bf16": {"checkpoint": True, "precision": "bf16"},
    "checkpoint, bf16, channels_last": {"checkpoint": True, "precision": "bf16", "channels_last": True},
}


def measure(model: str, size: int, batch: int, small: int, option: str) -> None:
    """Print the peak memory in MiB, beyond what the process used before, and the seconds per image."""
    import torch

    import inceptionzoo as iz
    from inceptionzoo.bench.memory import peak

    net = iz.create_model(model, num_classes=2)
    net.set_input_size(size)
    images, targets = torch.rand(batch, 3, size, size) - 0.5, torch.arange(batch) % 2
    batches = list(zip(torch.split(images, small), torch.split(targets, small), strict=True))
    other = iz.create_model("vgg11_bn_cifar", num_classes=2)  # trained first, so that imports are not measured
    iz.fit(other, [(images[:2, :, :32, :32], targets[:2])], epochs=1)
    settings: dict[str, object] = {"epochs": 1, "channels_last": False, "accumulate": batch // small, **OPTIONS[option]}
    start = time.perf_counter()
    used = peak(lambda: iz.fit(net, batches, **settings))  # type: ignore[arg-type]  # a table of options
    print(f"{used:.0f} {(time.perf_counter() - start) / batch:.3f}")


def main() -> None:
    """Measure each combination in a new process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="googlenet_cifar")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=32, help="images in a step")
    parser.add_argument("--small", type=int, nargs="+", default=[2], help="images processed at a time; one or more numbers")
    parser.add_argument("--only", nargs="+", default=list(OPTIONS), help="the combinations to measure")
    parser.add_argument("--option", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.option is not None:
        measure(asked.model, asked.size, asked.batch, asked.small[0], asked.option)
        return
    print(f"{asked.model}, {asked.size} px, a step of {asked.batch} images\n")
    print("| images at a time | options | peak MiB | s an image |\n| ---: | --- | ---: | ---: |")
    for small in asked.small:
        if asked.batch % small:
            raise SystemExit(f"--small {small} must divide --batch {asked.batch}")
        for option in asked.only:
            common = ["--model", asked.model, "--size", str(asked.size), "--batch", str(asked.batch), "--small", str(small)]
            command = [sys.executable, __file__, *common, "--option", option]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode not in (0, -9) and "out of memory" not in done.stderr:
                raise SystemExit(done.stderr)
            sys.stderr.write(done.stderr)  # a warning if the processor has no bf16 instructions
            told = done.stdout.split() if done.returncode == 0 else ["out of memory", "-"]
            print(f"| {small} | {option} | {told[0]} | {told[1]} |", flush=True)


if __name__ == "__main__":
    main()
