"""The fields derived from what happened before an impression; what happened is written by `ml.data.behaviour`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ml.data.behaviour import behaviour_columns
from ml.data.dataset import AggregateSpec, DatasetSpec, FieldSpec
from ml.data.engine import connect, identifier, literal, parquet, statement, write_parquet
from ml.data.samples import day_start


@dataclass(frozen=True)
class _Derivation:
    """How one field is made: statements that prepare its tables, its value, and the joins that the value needs."""

    prepare: tuple[str, ...]
    value: str
    joins: str


def derive_features(
    *, spec: DatasetSpec, day: date, impressions: Path, events: Sequence[Path], scratch: Path, out: Path
) -> int:
    """Write the derived fields of the impressions of `day` to `out`; returns the number of impressions.

    One row per landed impression, in their order: source_row BIGINT, then per derived field VARCHAR[] (a sequence,
    newest last) or DOUBLE (an aggregate). `events` are the behaviour events of the days of
    `ml.data.behaviour.behaviour_reach` as far as there are any, oldest first, at least the day's own.

    A sequence sees events strictly before its impression and at most `behaviour_days` × 86,400 s old; it is empty
    where there are none. An aggregate sees the complete days before `day` in the dataset's time zone; an unseen
    value of its `by` fields counts 0 and has neither rate nor mean. A mean is taken over finite numbers.
    NULL where nobody can know: the user of a sequence or a `by` field is NULL, or the impression's time is unreadable
    or not in `day`.
    """
    bounds = {
        "day_start": _timestamp(day_start(day, spec.timezone)),
        "day_end": _timestamp(day_start(day + timedelta(days=1), spec.timezone)),
    }
    derivations = [
        (field, _derivation(spec, field, f"derived_{number}", day=day, bounds=bounds))
        for number, field in enumerate(spec.derived_fields)
    ]
    with connect(scratch=scratch) as connection:
        connection.execute(
            statement("derived_inputs", impressions=parquet([impressions]), events=_events(spec, events), **bounds)
        )
        for _, derivation in derivations:
            for text in derivation.prepare:
                connection.execute(text)
        text = statement(
            "derived_features",
            features=",\n    ".join(f"{made.value} AS {identifier(field.name)}" for field, made in derivations),
            joins="\n".join(made.joins for _, made in derivations),
        )
        return write_parquet(connection, text, out)


def _events(spec: DatasetSpec, paths: Sequence[Path]) -> str:
    """The events of all days with their place in the log: days in their order, rows as written."""
    named = "".join(f", {identifier(name)}" for name in behaviour_columns(spec))
    return "\nUNION ALL\n".join(
        f"SELECT {number} AS _day_order, file_row_number AS _row_order, stage, event_time, user_key{named} "
        f"FROM read_parquet({literal(str(path))}, file_row_number = true, hive_partitioning = false)"
        for number, path in enumerate(paths)
    )


def _derivation(spec: DatasetSpec, field: FieldSpec, table: str, *, day: date, bounds: dict[str, str]) -> _Derivation:
    if field.aggregate is not None:
        start = _timestamp(day_start(day - timedelta(days=field.aggregate.days), spec.timezone))
        return _aggregate(field.aggregate, table, start=start, before=bounds["day_start"])
    return _sequence(field, table, bounds=bounds)


def _sequence(field: FieldSpec, table: str, *, bounds: dict[str, str]) -> _Derivation:
    assert field.behaviour is not None
    assert field.of is not None
    parts = {
        "table": table,
        "max_length": str(field.max_length),
        "window_seconds": str(field.behaviour_days * 86400),
    }
    values = statement("derived_values", value=identifier(field.of), stage=literal(field.behaviour), **parts, **bounds)
    first, last = (f"{table}_reach.{end} - {table}_history.places_before" for end in ("oldest", "newest"))
    return _Derivation(
        prepare=(
            values,
            statement("derived_history", **parts),
            statement("derived_reach", **parts),
            f"DROP TABLE {table}_values",
        ),
        value=f"CASE WHEN landed._in_day AND landed.user_key IS NOT NULL "
        f"THEN coalesce({table}_history.members[{first} : {last}], CAST([] AS VARCHAR[])) END",
        joins=f"LEFT JOIN {table}_reach ON landed.source_row = {table}_reach.source_row\n"
        f"LEFT JOIN {table}_history\n"
        f"    ON {table}_reach.user_key = {table}_history.user_key AND {table}_reach.piece = {table}_history.piece",
    )


def _aggregate(aggregate: AggregateSpec, table: str, *, start: str, before: str) -> _Derivation:
    stages = [aggregate.count, *([aggregate.per] if aggregate.per else [])]
    keys = [identifier(by) for by in aggregate.by]
    parts = {
        "table": table,
        "keys": ", ".join(f"{key} AS _key_{number}" for number, key in enumerate(keys)),
        "key_names": ", ".join(f"_key_{number}" for number in range(len(keys))),
        "keys_known": " AND ".join(f"{key} IS NOT NULL" for key in keys),
        "stages": ", ".join(literal(stage) for stage in stages),
        "start": start,
        "day_start": before,
    }
    counted = f"count(*) FILTER (stage = {literal(aggregate.count)})"
    if aggregate.mean_of is not None:
        prepare = statement("derived_mean", number=identifier(aggregate.mean_of), **parts)
    elif aggregate.per is not None:
        rate = f"{counted} / nullif(count(*) FILTER (stage = {literal(aggregate.per)}), 0)"
        prepare = statement("derived_counts", measure=rate, **parts)
    else:
        prepare = statement("derived_counts", measure=f"CAST({counted} AS DOUBLE)", **parts)
    counts_unseen = aggregate.mean_of is None and aggregate.per is None
    value = f"coalesce({table}.measure, 0)" if counts_unseen else f"{table}.measure"
    known = " AND ".join(f"landed.{key} IS NOT NULL" for key in keys)
    agree = " AND ".join(f"landed.{key} = {table}._key_{number}" for number, key in enumerate(keys))
    return _Derivation(
        prepare=(prepare,),
        value=f"CASE WHEN landed._in_day AND {known} THEN {value} END",
        joins=f"LEFT JOIN {table} ON {agree}",
    )


def _timestamp(moment: datetime) -> str:
    return f"TIMESTAMP {literal(moment.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S'))}"
