"""The assets `raw_events` and `raw_conversions`: what arrived on a day, landed as it is; labels belong to `samples`."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from assets.day_reports import CheckOutcome, DayOutcome, check_specs, report_days
from assets.declaration import chain_asset
from assets.label_events import REFUSAL_FILE
from assets.partitions import DATA_GROUP, daily_partitions
from assets.resources import Platform
from assets.schemas import column_schema
from assets.step_pods import LOCAL, StepPods
from ml.data.dataset import DatasetSpec
from ml.data.sources.column_changes import ColumnChanges, column_changes
from ml.data.sources.source import LandedDay, LogSource

#: How far back a landed day is looked for to compare columns with: a month without any has other troubles.
_LOOK_BACK_DAYS = 31
_SHOWN_COLUMNS = 100


def build(spec: DatasetSpec, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
    """The two raw assets of a dataset."""
    return [
        _raw_asset(
            spec,
            pods,
            name="raw_events",
            description="Impressions, clicks, carts and favourites of the day as they arrived: typed, named, not yet "
            "judged. A value that cannot be read is kept as text beside its row.",
        ),
        _raw_asset(
            spec,
            pods,
            name="raw_conversions",
            description="Conversions that happened on the day, whichever day they will be credited to. A log with "
            "label columns has none of its own.",
        ),
    ]


def _raw_asset(spec: DatasetSpec, pods: StepPods, *, name: str, description: str) -> dg.AssetsDefinition:
    partitions = daily_partitions(spec)
    checks = check_specs(name, {"feed_arrived": "The day's files are there and can be read."}, partitions)

    @chain_asset(
        spec,
        group=DATA_GROUP,
        name=name,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"duckdb", "parquet"},
        op_tags=pods.other,
        # What fails while a bucket is read may be the server's fault, on one machine too.
        retry_policy=pods.retry_policy if spec.in_bucket else pods.data_retry_policy,
        description=description,
        check_specs=checks,
        output_required=False,
    )
    def raw(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Iterator[Any]:
        days = [date.fromisoformat(key) for key in context.partition_keys]
        yield from report_days(context, assets=[name], checks=checks, outcomes=_land(platform, spec, name, days))

    return raw


def _land(platform: Platform, spec: DatasetSpec, name: str, days: list[date]) -> list[DayOutcome]:
    source = LogSource(spec=spec, feed_root=platform.feed_root, feed=platform.feed)
    outcomes = []
    with platform.scratch(name) as folder:
        # In the order of days: each is compared with what is in the store from before it.
        for landed in (source.land_events if name == "raw_events" else source.land_conversions)(days=days, root=folder):
            outcomes.append(_publish(platform, spec, name, landed, folder=folder))
            # A disk that holds a day must do for a range.
            shutil.rmtree(folder / landed.day.isoformat(), ignore_errors=True)
    return outcomes


def _publish(platform: Platform, spec: DatasetSpec, name: str, landed: LandedDay, *, folder: Path) -> DayOutcome:
    files = {f"{table_name}.parquet": table.path for table_name, table in landed.tables.items()}
    if landed.refused is not None:
        refusal = folder / landed.day.isoformat() / REFUSAL_FILE
        refusal.parent.mkdir(parents=True, exist_ok=True)
        refusal.write_text(str(landed.refused), encoding="utf-8")
        files = {REFUSAL_FILE: refusal}
    if not files:
        files = {"labels_are_columns.txt": _note(folder)}
    arrived: Any = {
        table_name: {
            "rows": table.rows,
            "rows_outside_the_log": table.rows_outside,
            "files": [file.model_dump() for file in table.files],
            "columns": dict(table.columns),
        }
        for table_name, table in landed.tables.items()
    }
    platform.artifacts.publish(f"{name}/{landed.day.isoformat()}", files, metadata={"arrived": arrived})
    changes = _changed_columns(platform, spec, name, landed.day, arrived)
    outcome = _outcome(landed.day, name, arrived, landed.refused, changes)
    for table in list(landed.tables.values())[:1]:
        # Of several tables the first, impressions: the Columns tab holds one schema.
        outcome.metadata[name]["dagster/column_schema"] = column_schema(table.path)
    return outcome


def _changed_columns(
    platform: Platform, spec: DatasetSpec, name: str, day: date, arrived: Mapping[str, Mapping[str, Any]]
) -> tuple[date, ColumnChanges] | None:
    """The newest landed day before `day` and what changed in the raw columns since; None where there is none."""
    for past in (day - timedelta(days=age) for age in range(1, _LOOK_BACK_DAYS + 1)):
        if not arrived or past < spec.days.first:
            return None
        manifest = platform.artifacts.find(f"{name}/{past.isoformat()}")
        if manifest is not None and REFUSAL_FILE not in manifest.files:
            facts: Any = manifest.metadata.get("arrived", {})
            before = {table: known.get("columns", {}) for table, known in facts.items()}
            return past, column_changes(before, {table: known["columns"] for table, known in arrived.items()})
    return None


def _note(folder: Path) -> Path:
    path = folder / "labels_are_columns.txt"
    path.write_text("This log carries its conversions as label columns of raw_events.\n", encoding="utf-8")
    return path


def _outcome(
    day: date,
    name: str,
    arrived: Mapping[str, Mapping[str, Any]],
    refused: Exception | None,
    changes: tuple[date, ColumnChanges] | None,
) -> DayOutcome:
    metadata: dict[str, Any] = {"refused": str(refused)} if refused else {}
    notes = [str(refused)] if refused else []
    for table, facts in arrived.items():
        metadata[f"{table}_rows"] = facts["rows"]
        metadata[f"{table}_bytes"] = sum(file["bytes"] for file in facts["files"])
        metadata[f"{table}_files"] = dg.TableMetadataValue(
            records=[dg.TableRecord(dict(file)) for file in facts["files"][:50]],
            schema=dg.TableSchema(
                columns=[dg.TableColumn("path"), dg.TableColumn("bytes", "int"), dg.TableColumn("sha256")]
            ),
        )
        if facts["rows_outside_the_log"]:
            metadata[f"{table}_rows_outside_the_log"] = facts["rows_outside_the_log"]
            notes.append(f"{facts['rows_outside_the_log']} rows of {table} lie in no day of the log")
    metadata["dagster/row_count"] = sum(facts["rows"] for facts in arrived.values())
    if changes is not None and (words := changes[1].in_words()):
        metadata |= _changes_shown(*changes)
        notes.append(f"columns changed since {changes[0]}: {words}")
    check = CheckOutcome(passed=refused is None, metadata=metadata, description="; ".join(notes) or None)
    return DayOutcome(
        day=day.isoformat(),
        metadata={name: metadata},
        checks={"feed_arrived": check},
        refused=str(refused) if refused else None,
    )


def _changes_shown(since: date, changes: ColumnChanges) -> dict[str, Any]:
    kinds = {"new_columns": changes.new, "columns_gone": changes.gone, "columns_of_another_type": changes.retyped}
    shown = {kind: list(columns[:_SHOWN_COLUMNS]) for kind, columns in kinds.items() if columns}
    return {"columns_compared_with": since.isoformat(), **shown}
