"""``python -m ml inspect``: what one bundle leans on, found on a sample of one day."""

from __future__ import annotations

import sys
from pathlib import Path

from ml.commands.specs import Refused, prepare_out, read_spec
from ml.inspection_spec import InspectionSpec


def run(spec_path: Path, out: Path) -> int:
    """Exit code 0, or 1 where the smoke test failed; raises ``Refused`` for what cannot be used."""
    spec = read_spec(spec_path, InspectionSpec)
    prepare_out(out)
    from ml.commands.faults import REFUSALS, STOPS
    from ml.inspection.inspection import inspect

    try:
        inspect(spec, out)
    except REFUSALS as refusal:
        raise Refused(str(refusal)) from refusal
    except STOPS as stop:
        print(str(stop), file=sys.stderr)
        return 1
    return 0
