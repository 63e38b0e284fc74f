"""``python -m ml score``: predictions of one day by one bundle."""

from __future__ import annotations

from pathlib import Path

from ml.commands.specs import prepare_out, read_spec
from ml.scoring_spec import ScoreSpec


def run(spec_path: Path, out: Path) -> int:
    """Exit code 0, or 1 where the smoke test failed; raises ``Refused`` for what cannot be used."""
    spec = read_spec(spec_path, ScoreSpec)
    prepare_out(out)
    from ml.commands.faults import exit_code
    from ml.scoring import score

    return exit_code(lambda: score(spec, out))
