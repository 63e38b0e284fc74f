"""Reports each day of a run to Dagster as its own materialization metadata and check results: the one place that does.

In a range run (`BackfillPolicy.single_run`) an `AssetCheckResult` is recorded without a partition (seen with dagster
1.13.27). What keeps a check history per day is the materializations, then an `AssetCheckEvaluation` per day that names
the one it judged, then a plain output per check.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

# dagster 1.13 takes this type in a public argument and does not export it.
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from assets.partitions import VERDICT_ASSET


@dataclass(frozen=True)
class CheckOutcome:
    """One check's result on one day."""

    passed: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    description: str | None = None


@dataclass(frozen=True)
class DayOutcome:
    """What a run did for one day: metadata by asset name, check results by check name."""

    day: str
    metadata: Mapping[str, dict[str, Any]]
    checks: Mapping[str, CheckOutcome] = field(default_factory=dict)
    refused: str | None = None


def check_specs(asset: str, names: Mapping[str, str], partitions: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """Partitioned check specs of an asset, from name to description.

    Without `partitions_def` a check on a partitioned asset would load every partition.
    """
    return [
        dg.AssetCheckSpec(name, asset=asset, description=description, partitions_def=partitions)
        for name, description in names.items()
    ]


def report_days(
    context: dg.AssetExecutionContext,
    *,
    assets: Sequence[str],
    checks: Sequence[dg.AssetCheckSpec],
    outcomes: Sequence[DayOutcome],
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None] | dg.MaterializeResult[Any]]:
    """Yield what Dagster must be told about `outcomes`, one per day of the run, in the order it needs.

    A run of one single day that was refused ends in `dg.Failure` after everything has been recorded, so that a
    scheduled night fails loudly; but only its last step does: the verdict has to be reached, to withdraw what an
    earlier run may have admitted. In a range a refused day is red and the others go on.
    """
    for outcome in outcomes:
        for asset in assets:
            context.add_asset_metadata(dict(outcome.metadata[asset]), asset_key=asset, partition_key=outcome.day)
    for asset in assets:
        yield dg.MaterializeResult(asset_key=asset)
    days = [outcome.day for outcome in outcomes]
    materialized = {asset: _materialized(context, asset, days) for asset in {spec.asset_key for spec in checks}}
    for outcome in outcomes:
        for spec in checks:
            result = outcome.checks[spec.name]
            yield dg.AssetCheckEvaluation(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=result.passed,
                metadata=dict(result.metadata),
                severity=result.severity,
                description=result.description,
                target_materialization_data=materialized[spec.asset_key].get(outcome.day),
                partition=outcome.day,
                blocking=False,
            )
    for spec in checks:
        yield dg.Output(None, output_name=spec.get_python_identifier())
    if len(outcomes) == 1 and outcomes[0].refused and _is_last_step(context, assets):
        outcome = outcomes[0]
        raise dg.Failure(
            description=f"{outcome.day} was refused: {outcome.refused}",
            metadata=dict(outcome.metadata[assets[0]]),
            allow_retries=False,
        )


def _is_last_step(context: dg.AssetExecutionContext, assets: Sequence[str]) -> bool:
    """Whether no verdict on the day follows in this run."""
    # A run of a whole job has no selection; one of some assets names them.
    selected = context.run.asset_selection
    return VERDICT_ASSET in assets or (bool(selected) and dg.AssetKey(VERDICT_ASSET) not in (selected or ()))


def _materialized(
    context: dg.AssetExecutionContext, asset: dg.AssetKey, days: Sequence[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """The newest materialization of each day: a result that names none counts as outdated and is shown grey."""
    found = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, asset_partitions=list(days)), limit=len(days)
    )
    return {
        record.partition_key: AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in found.records
        if record.partition_key is not None
    }
