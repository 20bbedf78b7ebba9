"""One file a paper: its table, its entries, its citation."""

from . import googlenet, vgg

ENTRIES = (*googlenet.ENTRIES, *vgg.ENTRIES)

__all__ = ["ENTRIES", "googlenet", "vgg"]
