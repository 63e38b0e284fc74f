"""One real cell, trained and scored by real children on the chain's own artifacts, and found finished afterwards."""

from typing import Any

import pytest

from assets.experiment_plan import ExperimentRequest
from assets.experiments import run_experiment
from ml.evaluation.measurement import Measured
from ml.experiments.scheduling import CoreBudget
from tests.end_to_end.conftest import DAYS, Home

pytestmark = pytest.mark.end_to_end


def test_a_cell_is_trained_judged_and_found_again(chain: tuple[Home, dict[str, Any]], tmp_path: Any):
    home, _ = chain
    told: list[str] = []
    request = ExperimentRequest(
        as_of=DAYS[3],
        out=tmp_path / "experiment",
        tables=("a",),
        models=("cstwa",),
        seeds=1,
        training={"epochs": 1},
        model={"tower_widths": [8], "tower_dropout": [0.0]},
        budget=CoreBudget(cores=1),
    )
    outcome = run_experiment(home.platform, home.spec, request, tell=told.append)
    assert outcome.failures == ()
    (table,) = outcome.tables
    (row,) = table.rows
    assert isinstance(row.entries["ctr_auc"].mean, Measured)
    # CSTWA reads both graphs, and its run folder says how the training went.
    assert (request.out / str(row.runs[0].run) / "train" / "metrics.jsonl").exists()
    told.clear()
    assert run_experiment(home.platform, home.spec, request, tell=told.append).tables == outcome.tables
    assert told == [f"0 cells to run, {outcome.cells} are finished; 1 at once"]
