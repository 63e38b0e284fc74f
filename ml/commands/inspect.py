"""``python -m ml inspect``: what one bundle leans on, found on a sample of one day."""

from __future__ import annotations

from pathlib import Path

from ml.commands.specs import prepare_out, read_spec
from ml.inspection_spec import InspectionSpec


def run(spec_path: Path, out: Path) -> int:
    """Exit code 0, or 1 where the smoke test failed; raises ``Refused`` for what cannot be used."""
    spec = read_spec(spec_path, InspectionSpec)
    prepare_out(out)
    from ml.commands.faults import exit_code
    from ml.inspection.inspection import inspect

    return exit_code(lambda: inspect(spec, out))
