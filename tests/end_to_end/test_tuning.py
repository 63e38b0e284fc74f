"""A real search of two trials by real children on the chain's own artifacts, the model of which is then trained."""

from pathlib import Path
from typing import Any

import pytest

from assets.tuning import run_tuning
from orchestration.tune_request import tune_request
from tests.end_to_end.conftest import DAYS, Home

pytestmark = pytest.mark.end_to_end


def test_trials_are_compared_on_validation_rows(chain: tuple[Home, dict[str, Any]]):
    home, _ = chain
    told: list[str] = []
    request = tune_request(
        home.settings,
        home.spec,
        as_of=DAYS[3],
        model="cstwa",
        space={"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}, "curse_escaper": [True, False]},
        changes=["epochs=2", "tower_widths=[8]", "tower_dropout=[0.0]"],
        trials=2,
        cores=1,
    )
    record = run_tuning(home.platform, home.spec, request, tell=told.append)
    assert [trial.state for trial in record.trials] == ["complete", "complete"]
    assert all(trial.epochs in (1, 2) and 0 < (trial.value or 0) < 2 for trial in record.trials)
    assert record.best is not None
    assert (request.out / "index.html").exists()
    judged = Path(request.out).rglob("predictions.parquet")
    assert not list(judged)
    told.clear()
    assert run_tuning(home.platform, home.spec, request, tell=told.append) == record
    assert told == ["0 trials to run, 2 have ended; 1 at once"]
