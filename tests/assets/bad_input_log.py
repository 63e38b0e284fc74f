"""A small log of a folder a day, most with a fault, run from raw to validated in one range; no test."""

import csv
import io
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from assets.receipts import read_receipt
from assets.resources import Platform
from ml.data.dataset import DatasetSpec

Row = dict[str, Any]
Rows = list[Row]

#: Berlin puts its clocks forward on 2026-03-29: that day has 23 hours.
FIRST, TIMEZONE = date(2026, 3, 20), "Europe/Berlin"
GOOD_ROWS = 60
COLUMNS = ("id", "at", "user_id", "city", "item_id", "category", "price", "position", "clicked", "bought", "paid")
TABLE = {"time": "at", "impression_id": "id", "click": "clicked", "conversion": "bought", "value": "paid"}


@dataclass(frozen=True)
class Case:
    """A day's files and what becomes of them: `write` gets the day's folder and its good rows.

    `refused` is the reason (a pattern) of a day of which nothing is landed. Else `rows` are landed, of which `bad` are
    quarantined, so many by each of `rules`, and `holds` is true of the admitted ones.
    """

    name: str
    write: Callable[[Path, Rows], object]
    refused: str | None = None
    rows: int = GOOD_ROWS
    bad: int = 0
    rules: Mapping[str, int] = field(default_factory=dict)
    holds: Callable[[Rows], bool] = lambda rows: True


@dataclass(frozen=True)
class JudgedDay:
    """What the chain made of a day."""

    day: date
    verdict: str
    reasons: str
    rows_in: int
    landed: int | None
    admitted: Rows
    quarantined: Rows
    counts: tuple[int, int]
    by_rule: Mapping[str, int]
    arrived: bool


def good_rows(day: date) -> Rows:
    """The rows of a day without a fault: a time in every hour, labels by chance."""
    chance = random.Random(day.toordinal())
    rows = []
    for number in range(GOOD_ROWS):
        clicked = int(chance.random() < 0.5)
        bought = clicked * int(chance.random() < 0.3)
        rows.append(
            {
                "id": f"{day}-{number}",
                "at": f"{day} {number % 24:02}:{number:02}:00",
                "user_id": f"u{chance.randrange(20)}",
                "city": f"c{chance.randrange(4)}",
                "item_id": f"i{chance.randrange(9)}",
                "category": f"k{chance.randrange(3)}",
                "price": round(chance.uniform(1, 99), 2),
                "position": str(chance.randrange(5)),
                "clicked": clicked,
                "bought": bought,
                "paid": round(chance.uniform(1, 99), 2) if bought else None,
            }
        )
    return rows


def changed(rows: Rows, *places: int, **values: Any) -> Rows:
    """The rows with `values` in those at `places`."""
    return [row | values if place in places else row for place, row in enumerate(rows)]


def csv_text(rows: Rows, *, delimiter: str = ",", newline: str = "\n", columns: Sequence[str] = COLUMNS) -> str:
    """The rows as CSV with a header."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline)
    writer.writerow(columns)
    writer.writerows([[row[name] for name in columns] for row in rows])
    return text.getvalue()


def days_of(cases: Sequence[Case]) -> dict[str, date]:
    """The day of each case: three follow one another, good days lie before, between and after."""
    return {case.name: FIRST + timedelta(days=place + place // 3 + 1) for place, case in enumerate(cases)}


def good_days(cases: Sequence[Case]) -> list[date]:
    """The days without a fault."""
    between = [FIRST + timedelta(days=4 * place) for place in range((len(cases) + 2) // 3)]
    return [*between, max(days_of(cases).values()) + timedelta(days=1)]


def write_log(root: Path, cases: Sequence[Case], *, good: Case) -> None:
    """A folder a day, each written by its case or by `good`."""
    days = days_of(cases)
    for day, case in [(day, good) for day in good_days(cases)] + [(days[case.name], case) for case in cases]:
        folder = root / str(day)
        folder.mkdir(parents=True)
        case.write(folder, good_rows(day))


def judge(
    platform: Platform, instance: dg.DagsterInstance, spec: DatasetSpec, run: Callable[..., Any]
) -> dict[date, JudgedDay]:
    """Run all days of `spec` in one range, which must succeed, and read back what became of each."""
    assert spec.days.last is not None
    result = run(platform, instance, spec, spec.days.first, spec.days.last)
    assert result.success, [str(event.event_specific_data)[:2000] for event in result.all_events if event.is_failure]
    arrived = {
        str(check.partition): check.passed
        for check in result.get_asset_check_evaluations()
        if check.asset_key.path == ["raw_events"]
    }
    span = (spec.days.last - spec.days.first).days + 1
    days = [spec.days.first + timedelta(days=offset) for offset in range(span)]
    return {day: _judged(platform, day, arrived=arrived[str(day)]) for day in days}


def _judged(platform: Platform, day: date, *, arrived: bool) -> JudgedDay:
    receipt = read_receipt(platform, day)
    assert receipt is not None, day
    admitted = _rows(platform, f"validated_samples/{day}", "samples.parquet")
    quarantined = _rows(platform, f"quarantined_samples/{day}", "rows.parquet")
    landed = _rows(platform, f"raw_events/{day}", "impressions.parquet")
    return JudgedDay(
        day=day,
        verdict=receipt.verdict,
        reasons="; ".join(receipt.reasons),
        rows_in=receipt.rows_in,
        landed=None if landed is None else len(landed),
        admitted=admitted or [],
        quarantined=quarantined or [],
        counts=(receipt.admitted, receipt.quarantined),
        by_rule=receipt.by_rule(),
        arrived=arrived,
    )


def _rows(platform: Platform, key: str, name: str) -> Rows | None:
    artifact = platform.artifacts.open(key)
    return pq.ParquetFile(artifact.path(name)).read().to_pylist() if name in artifact.manifest.files else None


def hold_counts(judged: JudgedDay) -> None:
    """Rows in = admitted + quarantined, in the receipt and in the files, whatever became of the day."""
    assert judged.counts == (len(judged.admitted), len(judged.quarantined))
    assert judged.rows_in == sum(judged.counts)


def hold_good(judged: JudgedDay) -> None:
    """A day without a fault is admitted whole, whatever its neighbours are."""
    hold_counts(judged)
    assert (judged.verdict, judged.arrived, judged.reasons) == ("admitted", True, "")
    assert (judged.landed, *judged.counts) == (GOOD_ROWS, GOOD_ROWS, 0)


def hold_case(case: Case, judged: JudgedDay) -> None:
    """The day of a case came out as it says."""
    hold_counts(judged)
    if case.refused is not None:
        assert (judged.verdict, judged.arrived, judged.landed) == ("refused", False, None)
        assert judged.rows_in == 0
        assert re.search(case.refused, judged.reasons), judged.reasons
        assert str(judged.day) in judged.reasons, "the file at fault must be named"
        assert re.search("deliver|replace|correct|rename|remove", judged.reasons), "there must be a remedy"
        return
    assert judged.arrived
    assert (judged.landed, judged.rows_in, judged.counts[1]) == (case.rows, case.rows, case.bad), judged.by_rule
    assert case.rules == {rule: judged.by_rule.get(rule) for rule in case.rules}, judged.by_rule
    assert case.holds(judged.admitted), judged.admitted[:2]
