"""The figures of weight files: each function runs and returns one; `peers_files` returns those of other libraries."""

from file_peers import peers_files
from kills import killed_saves
from malformed import malformed_pth, malformed_safetensors
from malformed_keras import malformed_keras
from readers import readers_beside_writers
from transactions import transactional

__all__ = [
    "killed_saves",
    "malformed_keras",
    "malformed_pth",
    "malformed_safetensors",
    "peers_files",
    "readers_beside_writers",
    "transactional",
]
