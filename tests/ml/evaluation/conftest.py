"""The judged days that the tests of this folder share, and how they are judged."""

import pytest

from ml.evaluation.evaluate import evaluate
from tests.ml.judged_days import challenger_facts, champion_facts, gate, good_facts, judged_day

__all__ = ["challenger_facts", "champion_facts", "gate", "good_facts", "judged", "judged_day"]

BASE_RATES = {"ctr": 0.3, "cvr": 0.35, "ctcvr": 0.1}


@pytest.fixture
def judged(judged_day, gate, good_facts, challenger_facts):
    def run(predictions, **changed):
        arguments = {
            "model": challenger_facts,
            "champion": None,
            "truth": None,
            "gate": gate,
            "facts": good_facts,
            "base_rates": BASE_RATES,
        }
        return evaluate(predictions=predictions, **{**arguments, **changed})

    return run
