"""Writes tensors as safetensors, atomically; reading them is safetensors' own ``load_file``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from ml.atomic_files import atomic_file


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes ``tensors`` by name from the CPU; the same tensors give the same bytes."""
    ready = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    with atomic_file(path) as temporary:
        save_file(ready, str(temporary))
