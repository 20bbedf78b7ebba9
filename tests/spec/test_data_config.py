"""The constants of preprocessing."""

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

import inceptionzoo as iz
from inceptionzoo.spec import CIFAR


def test_the_preprocessing_of_imagenet_is_timms():
    assert (iz.DataConfig().mean, iz.DataConfig().std) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    assert (iz.DataConfig().input_size, iz.DataConfig().crop_pct) == ((3, 224, 224), 0.875)


def test_the_preprocessing_of_cifar_is_that_of_pytorch_cifar():
    assert (CIFAR.mean, CIFAR.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert (CIFAR.input_size, CIFAR.crop_pct) == ((3, 32, 32), 1.0)
