"""Which calibrator a training chose, and why, read back from its metrics.jsonl; its effect on a day is evaluation's."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from ml.calibration.calibration import Calibration


def read_calibration_choice(path: Path | None) -> Calibration | None:
    """The last record of kind "calibration"; None without a log, without a record, or for one of another version.

    Like the training's curves it is there to be looked at: what cannot be read must not stop an evaluation.
    """
    if path is None or not path.is_file():
        return None
    found = None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"calibration"' not in line:
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.pop("kind", None) == "calibration":
            found = record
    if found is None:
        return None
    try:
        return Calibration.model_validate(found)
    except ValidationError:
        return None
