"""Where weight files come from: the Hugging Face Hub, other hosts, and the cache of both."""

from ._cache import cache_folder, cache_path, digest_checker, temporary_folder
from ._http import download
from ._hub import CONFIG, HUB, WEIGHTS, download_hub_file, is_offline, is_reference, parse_reference, resolve_folder

__all__ = [
    "CONFIG",
    "HUB",
    "WEIGHTS",
    "cache_folder",
    "cache_path",
    "digest_checker",
    "download",
    "download_hub_file",
    "is_offline",
    "is_reference",
    "parse_reference",
    "resolve_folder",
    "temporary_folder",
]
