"""The networks of the papers, one module for each family: blocks, tables of widths and registry entries."""

from . import bn_inception, googlenet, i3d, inception_resnet, inception_time, inception_v3, inception_v4, s3d, vgg, xception

ENTRIES = (
    *googlenet.ENTRIES,
    *bn_inception.ENTRIES,
    *inception_v3.ENTRIES,
    *inception_v4.ENTRIES,
    *inception_resnet.ENTRIES,
    *xception.ENTRIES,
    *vgg.ENTRIES,
    *i3d.ENTRIES,
    *s3d.ENTRIES,
    *inception_time.ENTRIES,
)

__all__ = [
    "ENTRIES",
    "bn_inception",
    "googlenet",
    "i3d",
    "inception_resnet",
    "inception_time",
    "inception_v3",
    "inception_v4",
    "s3d",
    "vgg",
    "xception",
]
