"""The version of the code that decides a model's weights: a hash of its sources; knows nothing of git."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

FOLDERS = ("data", "models", "training", "graphs")
SUFFIXES = (".py", ".sql")


@lru_cache(maxsize=1)
def code_version() -> str:
    """sha256 (hex) over paths and contents of the ``*.py`` and ``*.sql`` files of ml/{data,models,training,graphs}."""
    return source_digest(Path(__file__).parent, FOLDERS)


def source_digest(root: Path, folders: tuple[str, ...]) -> str:
    """sha256 (hex) over the source files below ``root / folder``, in path order, named relative to ``root``."""
    digest = hashlib.sha256()
    files = [path for folder in folders for path in (root / folder).rglob("*") if path.suffix in SUFFIXES]
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
