"""Runs in this process: a refusal is told as words, a fault as a fault, and progress line by line."""

from datetime import date
from typing import Any

import dagster as dg
import pytest

from assets.child_endings import CAUSE
from orchestration.instance import open_instance, prepare_dagster_home
from orchestration.jobs import BACKFILL_MODELS
from orchestration.runs import run_models
from orchestration.settings import Settings

PARTITIONS = dg.DailyPartitionsDefinition(start_date="2026-01-05", end_date="2026-01-08")


def definitions(raised: Exception | None, seen: list[Any]) -> dg.Definitions:
    class Form(dg.Config):
        model: str = "default"

    @dg.asset(partitions_def=PARTITIONS)
    def cvr_model(context: dg.AssetExecutionContext, config: Form) -> None:
        seen.append((context.partition_key, config.model))
        context.log.info("halfway")
        if raised is not None:
            raise raised

    return dg.Definitions(assets=[cvr_model], jobs=[dg.define_asset_job(BACKFILL_MODELS, selection=[cvr_model])])


@pytest.mark.parametrize(
    ("raised", "refusal", "fault"),
    [
        (None, None, None),
        (dg.Failure("too few days", allow_retries=False), "too few days", None),
        (RuntimeError("disk full"), None, "disk full"),
        # A child that ended badly says why as a refusal does, and yet nothing was refused.
        (
            dg.Failure("train: out of memory", metadata={CAUSE: "out_of_memory"}),
            None,
            "cvr_model: train: out of memory",
        ),
    ],
)
def test_an_outcome_is_nothing_a_refusal_or_a_fault(raised: Exception | None, refusal: str | None, fault: str | None):
    told: list[str] = []
    seen: list[Any] = []
    with dg.DagsterInstance.ephemeral() as instance:
        found = definitions(raised, seen)
        outcome = run_models(found, instance, as_of=date(2026, 1, 6), form={"model": "mlp"}, tell=told.append)
        assert instance.get_run_by_id(outcome.run_id) is not None
    assert outcome.refusal == refusal
    assert (fault or "") in (outcome.fault or "")
    assert (outcome.fault is None) is (fault is None)
    assert seen == [("2026-01-06", "mlp")]
    assert told[:2] == ["cvr_model …", "  halfway"]
    assert ("cvr_model failed" in told) is (raised is not None)


def test_the_instance_is_the_datasets_and_a_dagster_yaml_that_is_there_is_kept(settings: Settings, spec: Any):
    folder = prepare_dagster_home(settings, spec)
    written = (folder / "dagster.yaml").read_text(encoding="utf-8")
    assert "enabled: false" in written
    (folder / "dagster.yaml").write_text(written + "# ours\n", encoding="utf-8")
    assert prepare_dagster_home(settings, spec) == folder
    assert (folder / "dagster.yaml").read_text(encoding="utf-8").endswith("# ours\n")
    with open_instance(settings, spec) as instance:
        assert instance.root_directory == str(folder)
        assert not instance.telemetry_enabled
        assert [path.name for path in folder.parent.iterdir()] == ["dagster"]
