"""The statements that make a day's samples, filled in from the dataset spec; nothing is run or written here."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ml.data.dataset import DatasetSpec, Stage
from ml.data.engine import identifier, literal, parquet, statement
from ml.data.fields import FieldSpec

#: The kinds of sample rows, in their order in the file.
ROW_KINDS = ("impression", "click", "cart", "favourite", "conversion")
_STAGES = ROW_KINDS[1:]
#: As an ENUM a repeated text costs a sixth to write; in the file it is text.
_KINDS = f"ENUM({', '.join(literal(kind) for kind in ROW_KINDS)})"


def shown_relation(impressions: Path, derived: Path | None) -> str:
    """A table expression of the landed impressions with their derived fields beside them."""
    landed = parquet([impressions])
    if derived is None:
        return landed
    return (
        f"(SELECT landed.*, derived.* EXCLUDE (source_row) FROM {landed} AS landed "
        f"POSITIONAL JOIN {parquet([derived])} AS derived)"
    )


def rows_apart(impressions: Path, derived: Path) -> str:
    """A query for the number of rows at which the landed impressions and their derived fields do not lie together."""
    return (
        "SELECT count(*) FROM (SELECT landed.source_row AS landed, derived.source_row AS derived "
        f"FROM {parquet([impressions])} AS landed POSITIONAL JOIN {parquet([derived])} AS derived) AS pairs "
        "WHERE landed IS DISTINCT FROM derived"
    )


def copies(spec: DatasetSpec, impressions: Path) -> str:
    """The statement that makes the table `copies`: rows whose impression id the day repeats."""
    names = ["impression_time", "user_key", "item_key", *(name for name, _ in _columns(spec.logged_fields))]
    content = ", ".join(f"{identifier(name)} := impressions.{identifier(name)}" for name in names)
    return statement("copies", impressions=parquet([impressions]), content=content)


def labels(streams: Mapping[Stage, Sequence[Path]], *, earliest: str | None, latest: str | None) -> str:
    """The statement that makes the table `labels` from the credited events of each stage.

    `earliest` and `latest` are the times between which all the day's impressions lie, as text (None: no times).
    """
    bounds = {"earliest": _timestamp(earliest), "latest": _timestamp(latest)}
    parts = []
    for stage, files in streams.items():
        events = parquet(list(files))
        if stage == "conversion":
            part = statement("labels_of_conversions", events=events, **bounds)
        else:
            reference = "shown" if stage == "click" else "credited"
            part = statement(
                "labels_of_events", events=events, event_time=f"{stage}_time", reference=reference, **bounds
            )
        joined = " USING (impression_id, impression_time)" if parts else ""
        parts.append(f"({part}) AS {stage}_labels{joined}")
    return statement("labels", streams="\nFULL JOIN ".join(parts))


def labelled(spec: DatasetSpec, streams: Mapping[Stage, Sequence[Path]], *, shown: str) -> str:
    """The query for the impressions with what the tables `copies` and `labels` say of them."""
    columns = {
        "click_time": "shown.impression_time" if spec.clicks_implied else "labels.click_time",
        "clicked": "TRUE" if spec.clicks_implied else "labels.click_time IS NOT NULL",
    }
    for stage in ("cart", "favourite"):
        known = stage in streams
        columns[f"{stage}_time"] = f"labels.{stage}_time" if known else "CAST(NULL AS TIMESTAMP)"
        happened = f"labels.{stage}_time IS NOT NULL" if known else "NULL"
        columns[stage] = f"CAST({happened} AS BIGINT)"
    return statement("samples", kinds=_KINDS, fields=_fields(spec), shown=shown, **columns)


def wide(spec: DatasetSpec, *, shown: str) -> str:
    """The query for the impressions of a log that carries its labels in their rows."""
    return statement("samples_wide", kinds=_KINDS, fields=_fields(spec), shown=shown)


def orphans(spec: DatasetSpec, stage: Stage, events: Path) -> str:
    """The query for the events of one stage of the day that count for no impression."""
    columns = {f"{one}_time": f"{one}_time" if one == stage else "NULL" for one in _STAGES}
    columns |= {one: "1" if one == stage else "NULL" for one in _STAGES}
    columns |= dict.fromkeys(("value", "order_id", "duplicate_rank"), "NULL")
    if stage == "conversion":
        repeat = "CASE WHEN duplicate_rank > 1 THEN duplicate_rank END"
        columns |= {"value": "value", "order_id": "order_id", "duplicate_rank": repeat}
    return statement(
        "samples_orphans",
        row_kind=literal(stage),
        kinds=_KINDS,
        impression_id="named_impression" if stage == "click" else "impression_id",
        reference="shown_impression" if stage == "click" else "credited_impression",
        event_time=f"{stage}_time",
        events=parquet([events]),
        no_fields=",\n    ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in _columns(spec.fields)),
        **columns,
    )


def samples(spec: DatasetSpec, parts: Sequence[str], *, horizon: datetime | None, sorted_anew: bool = False) -> str:
    """The query for all rows of `parts`, in their order, with the age of their labels at `horizon`.

    `horizon` is None where labels are complete as published. `sorted_anew` makes sure of the order at some cost.
    """
    age, mature = "CAST(NULL AS BIGINT)", "TRUE"
    if horizon is not None:
        # Whole seconds, rounded down without a difference of two far-off times, which would overflow.
        microseconds = "epoch_us(impression_time)"
        past = f"({microseconds} // 1000000 + CAST({microseconds} % 1000000 > 0 AS BIGINT))"
        age = f"{int(horizon.astimezone(UTC).timestamp())} - {past}"
        mature = f"coalesce({age} >= {spec.label_window_seconds}, FALSE)"
    return statement(
        "samples_finish",
        every_row="\nUNION ALL\n".join(parts),
        label_age=age,
        mature=mature,
        field_names=",\n    ".join(identifier(name) for name, _ in _columns(spec.fields)),
        order="ORDER BY row_kind, source_row" if sorted_anew else "",
    )


def _columns(fields: Sequence[FieldSpec]) -> list[tuple[str, str]]:
    """Name and type of the samples columns of `fields`."""
    columns = []
    for field in fields:
        columns.append((field.name, {"number": "DOUBLE", "sequence": "VARCHAR[]"}.get(field.kind, "VARCHAR")))
        if field.weighted:
            columns.append((field.weights_column, "DOUBLE[]"))
    return columns


def _fields(spec: DatasetSpec) -> str:
    return ",\n    ".join(f"shown.{identifier(name)}" for name, _ in _columns(spec.fields))


def _timestamp(text: str | None) -> str:
    return "CAST(NULL AS TIMESTAMP)" if text is None else f"TIMESTAMP {literal(text)}"
