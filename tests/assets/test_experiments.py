"""Experiments: cells of an as-of day, run by children (a stand-in for `python -m ml`), resumed, shared, refused."""

import fcntl
import json
from collections.abc import Callable

import pytest

from assets.resources import DataRefused
from data_checks.receipts import Receipt
from infra.artifacts import ArtifactMissing
from ml.evaluation.measurement import Measured, NotMeasurable
from ml.experiments.cells import RUNS
from ml.experiments.scheduling import CoreBudget
from tests.assets.experiment_bench import AS_OF, DAYS, Bench, figure


@pytest.fixture
def bench(make_bench: Callable[[type[Bench]], Bench]) -> Bench:
    return make_bench(Bench)


def test_cells_are_trained_scored_judged_and_not_run_again(bench: Bench):
    outcome = bench.run(budget=CoreBudget(cores=4, threads=2))
    assert (outcome.cells, outcome.failures) == (4, ())
    assert bench.calls() == ["score  2"] * 4 + ["train esmm 2"] * 2 + ["train mlp 2"] * 2
    (table,) = outcome.tables
    assert figure(table, "MLP") == Measured(value=0.75)
    assert any("provisional" in note or "admitted days" in note for note in table.notes)
    runs = sorted((bench.folder / "out" / RUNS).iterdir())
    assert len(runs) == 4
    train = json.loads((runs[0] / "train.json").read_text())
    assert [day["day"] for day in train["days"]] == [day.isoformat() for day in DAYS[:3]]
    assert train["runtime"]["preload_bytes"] == bench.platform.window_bytes // 2
    assert "working" in (runs[0] / "output.log").read_text()
    assert not (runs[0] / "train" / "bundle").exists()
    assert not (runs[0] / "score" / "predictions.parquet").exists()

    again = bench.run()
    assert bench.calls() == []
    assert again.tables == outcome.tables
    more = bench.run(models=("mlp", "esmm", "omoe"), keep_models=True)
    assert bench.calls() == ["score  1"] * 2 + ["train omoe 1"] * 2
    assert more.cells == 6
    assert len(list((bench.folder / "out").rglob("weights"))) == 2


def test_a_failed_cell_says_why_and_the_others_go_on(bench: Bench):
    bench.fail("mlp")
    outcome = bench.run()
    assert [failure.reason for failure in outcome.failures] == [
        "train ended with exit code 1: likely out of memory"
    ] * 2
    (table,) = outcome.tables
    assert figure(table, "MLP") == NotMeasurable(reason="every run failed")
    assert figure(table, "ESMM") == Measured(value=0.75)
    bench.calls()
    bench.fail()
    assert bench.run().failures == ()
    assert bench.calls() == ["score  1"] * 2 + ["train mlp 1"] * 2


def test_tables_share_the_cells_of_the_same_content(bench: Bench):
    outcome = bench.run(tables=("a", "c", "d"), models=("esmm", "mlp"), seeds=1)
    assert outcome.cells == 2
    assert len(outcome.tables) == 3
    assert len({row.runs[0].run for table in outcome.tables for row in table.rows if row.label == "ESMM"}) == 1


def test_graphs_of_other_neighbours_are_built_once(bench: Bench):
    outcome = bench.run(tables=("f",), models=("cstwa",), seeds=1)
    built = [call for call in bench.calls() if call.startswith("graph")]
    # 8 are those of the dataset spec: its graphs are there.
    assert built == sorted(f"graph {k} 1" for k in (2, 4, 16) for _ in range(2))
    (table,) = outcome.tables
    assert figure(table, "K = 16") == Measured(value=0.75)
    assert len({row.runs[0].run for row in table.rows if row.panel == "K"}) == 4
    bench.run(tables=("f",), models=("cstwa",), seeds=1)
    assert bench.calls() == []


def test_settings_that_a_row_cannot_have_refuse_the_row_alone(bench: Bench):
    outcome = bench.run(training={"task_ratio": 1.0}, seeds=1)
    (table,) = outcome.tables
    assert figure(table, "MLP") == Measured(value=0.75)
    assert "task_ratio" in figure(table, "ESMM").reason
    assert outcome.cells == 1


def test_settings_come_from_preset_or_spec_under_what_is_given(bench: Bench):
    bench.run(models=("esmm",), seeds=1)
    bench.run(models=("esmm",), seeds=1, preset="paper", training={"epochs": 2}, out=bench.folder / "paper")
    own, paper = (
        json.loads(next((bench.folder / name / RUNS).rglob("train.json")).read_text()) for name in ("out", "paper")
    )
    assert (own["epochs"], own["batch_size"], own["model"]["tower_widths"]) == (3, 128, [8])
    assert (paper["epochs"], paper["batch_size"], paper["model"]["tower_widths"]) == (2, 2000, [128, 64, 32])
    # Rare ids were counted with the vocabulary.
    assert paper["min_count"] == own["min_count"] == 2


def test_a_day_that_is_not_admitted_or_has_no_embeddings_is_refused(bench: Bench, publish_day: Callable[..., Receipt]):
    with pytest.raises(ArtifactMissing, match="materialize ctr_embeddings of 2026-01-08"):
        bench.run(as_of=DAYS[2])
    publish_day(AS_OF, verdict="refused")
    with pytest.raises(DataRefused, match="judged day 2026-01-09 is not admitted"):
        bench.run()
    assert bench.calls() == []


def test_two_experiments_do_not_write_into_one_folder(bench: Bench):
    (bench.folder / "out").mkdir()
    with (bench.folder / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataRefused, match="another experiment is writing"):
            bench.run()
    assert bench.calls() == []
