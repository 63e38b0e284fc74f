"""Judges one day of joined samples: rows to admitted or quarantined, the day to a receipt; rules stand elsewhere."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from data_checks.catalog import RULES, rules_version
from data_checks.families.volume import trailing_volume
from data_checks.marks import Marked, count_rows, day_quantities, mark_rows, require_columns, row_quantities, statement
from data_checks.quarantine import RowsLost, bad_rows, split_rows
from data_checks.receipts import Decision, EventCounts, Receipt
from data_checks.rules import Rule, RuleContext
from data_checks.suites import Judgement, build_suite, hold_agreement, run_suite
from data_checks.verdict import reasons_to_refuse, rule_result, verdict
from ml.data.dataset import DatasetSpec
from ml.data.engine import DEFAULT_MEMORY_LIMIT, connect, literal


def validate_day(
    *,
    samples: Path,
    spec: DatasetSpec,
    day: date,
    input_version: str,
    history: Sequence[Receipt],
    label_horizon: datetime | None,
    events: EventCounts | None,
    admitted_to: Path,
    quarantined_to: Path,
    decisions: Sequence[Decision] = (),
    rules: Sequence[Rule] = RULES,
    threads: int = 1,
    memory_limit: str = DEFAULT_MEMORY_LIMIT,
    temp_directory: Path | None = None,
) -> Receipt:
    """Judge every row of `samples` (Parquet, the joined samples table) by every rule, and the day by its rows.

    Writes `admitted_to` (the rows that break no quarantine rule, columns and order as they came) and `quarantined_to`
    (the others, whole, with `rule_ids`), both Parquet and for a refused day too, so that a reviewer can accept it.
    `history` holds the receipts of the trailing days, `decisions` what reviewers said of them; days out of
    reach are ignored.
    `label_horizon` is UTC (naive times are taken as UTC). With one thread the same input gives the same bytes.
    DuckDB keeps to `memory_limit` and spills into a folder made in `temp_directory` (beside `admitted_to` if absent).

    Raises SamplesInvalid (columns missing or of another type), RowsLost (impressions differ from `events`, or rows in
    from rows out), SuiteCrashed and RuleDisagreement; none of them leaves a file changed.
    """
    parent = temp_directory or admitted_to.parent
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".validation-", dir=parent))
    try:
        with closing(connect(scratch=scratch, threads=threads, memory_limit=memory_limit)) as connection:
            require_columns(connection, samples=samples, spec=spec)
            rows_in, impressions = count_rows(connection, samples=samples)
            _require_landed(samples, impressions=impressions, events=events)
            trailing = trailing_volume(
                day=day, impressions=impressions, policy=spec.validation, history=history, decisions=decisions
            )
            context = RuleContext(spec=spec, day=day, impressions=impressions, trailing=trailing)
            marked = mark_rows(connection, samples=samples, rules=rules, context=context)
            judged = _judge(connection, samples=samples, rules=rules, context=context)
            _hold_agreement(rules, marked=marked, judged=judged, rows_in=rows_in)
            shown = bad_rows(connection, samples=samples, rules=rules, marked=marked, spec=spec)
            admitted, quarantined = split_rows(
                connection,
                samples=samples,
                rules=rules,
                rows_in=rows_in,
                admitted_to=admitted_to,
                quarantined_to=quarantined_to,
            )
            clicks, conversions, mature = _summary(connection, admitted_to)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    results = tuple(
        rule_result(rule, context, marked=marked[rule.id].rows, judged=judged[rule.id], rows_in=rows_in, shown=shown)
        for rule in rules
    )
    reasons = reasons_to_refuse(results, spec=spec, rows_in=rows_in, quarantined=quarantined)
    return Receipt(
        dataset=spec.name,
        day=day,
        input_version=input_version,
        rules_version=rules_version(spec),
        label_horizon=_utc(label_horizon),
        events=events,
        rows_in=rows_in,
        impressions=impressions,
        admitted=admitted,
        quarantined=quarantined,
        bad_share=quarantined / rows_in if rows_in else 0.0,
        max_bad_share=spec.validation.max_bad_share,
        clicks=clicks,
        conversions=conversions,
        mature=mature,
        verdict=verdict(reasons, rows_in=rows_in),
        reasons=reasons,
        rules=results,
        content_sha256=_sha256(admitted_to),
        quarantine_sha256=_sha256(quarantined_to),
    )


def _judge(
    connection: duckdb.DuckDBPyConnection, *, samples: Path, rules: Sequence[Rule], context: RuleContext
) -> dict[str, Judgement]:
    of_rows = [rule for rule in rules if rule.level == "row"]
    of_day = [rule for rule in rules if rule.level == "day"]
    rows = row_quantities(connection, samples=samples, rules=of_rows, context=context)
    the_day = day_quantities(connection, rules=of_day, context=context)
    return run_suite(build_suite(of_rows, context, name="joined_samples"), rows) | run_suite(
        build_suite(of_day, context, name="day"), the_day
    )


def _hold_agreement(
    rules: Sequence[Rule], *, marked: Mapping[str, Marked], judged: Mapping[str, Judgement], rows_in: int
) -> None:
    # A day that is unexpected stands for all its rows.
    weight = {rule.id: rows_in if rule.level == "day" else 1 for rule in rules}
    hold_agreement(
        marked={rule: found.rows for rule, found in marked.items()},
        unexpected={rule: found.unexpected * weight[rule] for rule, found in judged.items()},
    )


def _require_landed(samples: Path, *, impressions: int, events: EventCounts | None) -> None:
    if events is not None and events.impressions != impressions:
        raise RowsLost(
            f"{samples}: {events.impressions} impressions were landed, but {impressions} are in the joined table; join "
            "the day again, and if that does not mend it, the join loses or repeats rows"
        )


def _summary(connection: duckdb.DuckDBPyConnection, admitted: Path) -> tuple[int, int, int]:
    counted = connection.execute(statement("summary", samples=literal(str(admitted)))).fetchone()
    assert counted is not None
    return counted[0], counted[1], counted[2]


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
