"""Which exceptions a verb expects: those that refuse what it was given, and those that stop a run with a message."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ml.bundle import BundleMismatch, SmokeTestFailed
from ml.commands.specs import Refused
from ml.data.encoded_day import EncodingMismatch
from ml.data.vocabulary import VocabularyInvalid
from ml.graphs.graph import GraphInvalid
from ml.training.diagnosis import TrainingDiverged
from ml.training.inputs import InputRefused

REFUSALS = (BundleMismatch, EncodingMismatch, VocabularyInvalid, GraphInvalid, InputRefused, FileNotFoundError)
"""Exit code 2: mend the input."""
STOPS = (TrainingDiverged, SmokeTestFailed)
"""Exit code 1 with the message alone: the code did what it should."""


def exit_code(work: Callable[[], object]) -> int:
    """Does a verb's work: 0, or 1 with the message on stderr; raises ``Refused`` for what cannot be used."""
    try:
        work()
    except REFUSALS as refusal:
        raise Refused(str(refusal)) from refusal
    except STOPS as stop:
        print(str(stop), file=sys.stderr)
        return 1
    return 0
