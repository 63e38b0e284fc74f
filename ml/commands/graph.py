"""``python -m ml graph``: the similarity graph of one side."""

from __future__ import annotations

from pathlib import Path

from ml.commands.specs import Refused, prepare_out, read_spec
from ml.graphs.spec import GraphSpec


def run(spec_path: Path, out: Path) -> int:
    """Exit code 0; raises ``Refused`` for what cannot be used."""
    spec = read_spec(spec_path, GraphSpec)
    prepare_out(out)
    # faiss and torch bring an OpenMP runtime each: this process loads only the former.
    from ml.graphs import build

    try:
        build.run(spec, out)
    except (ValueError, FileNotFoundError) as refusal:
        raise Refused(str(refusal)) from refusal
    return 0
