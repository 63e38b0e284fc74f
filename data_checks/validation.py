"""Judges one day of joined samples: rows to admitted or quarantined, the day to a receipt; rules stand elsewhere."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from data_checks.catalog import RULES, rules_version
from data_checks.day_facts import gather_facts
from data_checks.day_sample import DaySample
from data_checks.decisions import Decision
from data_checks.marks import mark_day, mark_rows, require_columns
from data_checks.measures import AdmittedRows, Before, day_measures
from data_checks.profile import PROFILE_FILE, write_profile
from data_checks.quantities import day_quantities, row_quantities
from data_checks.quarantine import RowsLost, Split, bad_rows, split_rows
from data_checks.receipts import EventCounts, Receipt
from data_checks.rules import Rule, RuleContext
from data_checks.suites import Judgement, hold_agreement, judge
from data_checks.verdict import NOT_ASKED, Found, reasons_to_refuse, rule_result, verdict
from ml.data.dataset import DatasetSpec
from ml.data.engine import DEFAULT_MEMORY_LIMIT, connect


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
    profiles: Mapping[date, Path] | None = None,
    profile_to: Path | None = None,
    rules: Sequence[Rule] = RULES,
    threads: int = 1,
    memory_limit: str = DEFAULT_MEMORY_LIMIT,
    temp_directory: Path | None = None,
) -> Receipt:
    """Judge every row of `samples` (Parquet, the joined samples table) by every rule, and the day by its rows.

    Writes `admitted_to` (the rows that break no quarantine rule, columns and order as they came) and `quarantined_to`
    (the others, whole, with `rule_ids`), both Parquet and for a refused day too, so that a reviewer can accept it.
    `history` holds the receipts of the trailing days, `decisions` what reviewers said of them, `profiles` the profiles
    of those that stand as admitted; days out of reach are ignored. The day's own profile goes to `profile_to`.
    `label_horizon` is UTC (naive times are taken as UTC). With one thread the same input gives the same bytes.
    DuckDB keeps to `memory_limit` and spills into a folder made in `temp_directory` (beside `admitted_to` if absent).

    Raises SamplesInvalid (columns missing or of another type), RowsLost (impressions differ from `events`, or rows in
    from rows out), SuiteCrashed and RuleDisagreement; none of them leaves a file changed.
    """
    parent = temp_directory or admitted_to.parent
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".validation-", dir=parent))
    applying = [rule for rule in rules if not rule.not_applicable(spec)]
    of_rows, of_day = ([rule for rule in applying if rule.level == level] for level in ("row", "day"))
    try:
        with closing(connect(scratch=scratch, threads=threads, memory_limit=memory_limit)) as connection:
            require_columns(connection, samples=samples, spec=spec)
            facts = gather_facts(connection, samples=samples, spec=spec, day=day)
            _require_landed(samples, impressions=facts.impressions, events=events)
            context = RuleContext(spec=spec, day=day, bot_bound=facts.bot_bound, rare_labels=facts.rare_labels)
            marked = mark_rows(connection, samples=samples, rules=of_rows, context=context)
            rows = _judge_rows(connection, samples, of_rows, context, marked={r: m.rows for r, m in marked.items()})
            shown = bad_rows(connection, samples=samples, rules=of_rows, marked=marked, spec=spec)
            sample = DaySample(
                spec=spec, impressions=facts.impressions, clicks=facts.clicks, conversions=facts.conversions
            )
            with split_rows(
                connection,
                samples=samples,
                rules=of_rows,
                rows_in=facts.rows,
                admitted_to=admitted_to,
                quarantined_to=quarantined_to,
                look_at=sample.add,
            ) as split:
                profile = scratch / PROFILE_FILE
                write_profile(connection, sample=sample, spec=spec, out=profile)
                measures = day_measures(
                    spec=spec,
                    day=day,
                    facts=facts,
                    admitted=_admitted_rows(split, horizon=_utc(label_horizon)),
                    sample=sample,
                    profile=profile,
                    before=Before(history=history, decisions=decisions, profiles=profiles or {}),
                )
                context = replace(context, measures=measures)
                the_day = _judge_day(connection, of_day, context, rows=facts.rows)
                if profile_to is not None:
                    _replace(profile, profile_to)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = rows | the_day
    results = tuple(
        rule_result(rule, context, found=found.get(rule.id, NOT_ASKED), rows_in=facts.rows, shown=shown)
        for rule in rules
    )
    reasons = reasons_to_refuse(results, spec=spec, rows_in=facts.rows, quarantined=split.quarantined)
    return Receipt(
        dataset=spec.name,
        day=day,
        input_version=input_version,
        rules_version=rules_version(spec),
        label_horizon=_utc(label_horizon),
        events=events,
        rows_in=facts.rows,
        impressions=facts.impressions,
        admitted=split.admitted,
        quarantined=split.quarantined,
        bad_share=split.quarantined / facts.rows if facts.rows else 0.0,
        max_bad_share=spec.validation.max_bad_share,
        clicks=split.clicks,
        conversions=split.conversions,
        mature=split.mature,
        verdict=verdict(reasons, rows_in=facts.rows),
        reasons=reasons,
        rules=results,
        content_sha256=_sha256(admitted_to),
        quarantine_sha256=_sha256(quarantined_to),
    )


def _judge_rows(
    connection: duckdb.DuckDBPyConnection,
    samples: Path,
    rules: Sequence[Rule],
    context: RuleContext,
    *,
    marked: Mapping[str, int],
) -> dict[str, Found]:
    values = row_quantities(connection, samples=samples, rules=rules, context=context)
    judged = judge(rules, context, values, name="joined_samples")
    _hold_agreement(marked, judged)
    return {rule: Found(rows=marked[rule], judgement=judgement) for rule, judgement in judged.items()}


def _judge_day(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], context: RuleContext, *, rows: int
) -> dict[str, Found]:
    """What the rules on the day find that have something to judge; a day that breaks one stands for all its rows."""
    judging = [rule for rule in rules if rule.measured(context).value is not None]
    if not judging:
        return {}
    marked = mark_day(connection, rules=judging, context=context)
    values = day_quantities(connection, rules=judging, context=context)
    judged = judge(judging, context, values, name="day")
    _hold_agreement(marked, judged)
    return {rule: Found(rows=marked[rule] * rows, judgement=judgement) for rule, judgement in judged.items()}


def _admitted_rows(split: Split, *, horizon: datetime | None) -> AdmittedRows:
    return AdmittedRows(
        rows=split.admitted, clicks=split.clicks, conversions=split.conversions, mature=split.mature, horizon=horizon
    )


def _replace(made: Path, place: Path) -> None:
    """Put a file in its place as a whole; the scratch folder may be on another disk."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}.{os.getpid()}.writing")
    try:
        shutil.copyfile(made, unfinished)
        os.replace(unfinished, place)
    finally:
        unfinished.unlink(missing_ok=True)


def _hold_agreement(marked: Mapping[str, int], judged: Mapping[str, Judgement]) -> None:
    hold_agreement(marked=marked, unexpected={rule: found.unexpected for rule, found in judged.items()})


def _require_landed(samples: Path, *, impressions: int, events: EventCounts | None) -> None:
    if events is not None and events.impressions != impressions:
        raise RowsLost(
            f"{samples}: {events.impressions} impressions were landed, but {impressions} are in the joined table; join "
            "the day again, and if that does not mend it, the join loses or repeats rows"
        )


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
