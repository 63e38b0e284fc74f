"""Bad clicks, carts and orders from raw to validated: the stream's day is refused, or its events lie in quarantine."""

import csv
import gzip
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.assets.bad_input_log import FIRST, GOOD_ROWS, JudgedDay, good_rows, hold_counts, hold_good, judge

Streams = dict[str, list[dict[str, Any]]]


def good_streams(day: date) -> Streams:
    """A day's impressions, and what followed: each event names what it follows and comes a minute after it."""
    shown = good_rows(day)
    clicked = [row for row in shown if row["clicked"]]
    bought = [row for row in shown if row["bought"]]
    fields = ("id", "at", "user_id", "city", "item_id", "category", "price", "position")
    return {
        "shown": [{name: row[name] for name in fields} for row in shown],
        "clicks": [{"id": f"c{row['id']}", "shown": row["id"], "at": later(row["at"], 60)} for row in clicked],
        "carts": [{"click": f"c{row['id']}", "at": later(row["at"], 90)} for row in clicked[::2]],
        "orders": [{"click": f"c{row['id']}", "at": later(row["at"], 120), "paid": row["paid"]} for row in bought],
    }


def later(at: str, seconds: int) -> str:
    return str(datetime.fromisoformat(at) + timedelta(seconds=seconds))


def write_streams(folder: Path, streams: Mapping[str, list[dict[str, Any]]]) -> None:
    folder.mkdir(parents=True)
    for name, rows in streams.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def in_milliseconds(streams: Streams) -> Streams:
    def stamp(at: str) -> int:
        return int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()) * 1000

    return streams | {"orders": [row | {"at": stamp(row["at"])} for row in streams["orders"]]}


def with_events(stream: str, *more: dict[str, Any]) -> Callable[[Streams], Streams]:
    return lambda streams: streams | {stream: [*streams[stream], *more]}


def truncated(folder: Path, name: str) -> None:
    data = (folder / f"{name}.csv").read_bytes()
    (folder / f"{name}.csv").unlink()
    (folder / f"{name}.csv.gz").write_bytes(gzip.compress(data)[:-20])


#: What is done to a day's rows, or to its written files.
ROWS: dict[str, Callable[[Streams], Streams]] = {
    "orders in milliseconds": in_milliseconds,
    "clicks on nothing": with_events(
        "clicks", *({"id": f"x{n}", "shown": f"unknown-{n}", "at": "2026-03-27 10:00:00"} for n in range(2))
    ),
    "orders at no time": with_events("orders", *({"click": f"x{n}", "at": "soon", "paid": 1} for n in range(2))),
    "orders to come": lambda streams: streams | {"orders": [row | {"at": "2031-01-01"} for row in streams["orders"]]},
}
FILES: dict[str, Callable[[Path], object]] = {
    "truncated clicks": lambda folder: truncated(folder, "clicks"),
    "no carts": lambda folder: (folder / "carts.csv").unlink(),
    "no orders": lambda folder: (folder / "orders.csv").unlink(),
}
CASES = ["truncated clicks", "no carts", "no orders", *ROWS]
DAY = {case: FIRST + timedelta(days=2 * place + 1) for place, case in enumerate(CASES)}
LAST = max(DAY.values()) + timedelta(days=1)


@pytest.fixture(scope="module")
def log(
    tmp_path_factory: pytest.TempPathFactory,
    make_platform: Callable[..., Any],
    make_spec: Callable[..., Any],
    run_data: Callable[..., Any],
) -> dict[date, JudgedDay]:
    """What became of each day, all run in one range."""
    folder = tmp_path_factory.mktemp("bad_streams")
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        case = next((name for name, at in DAY.items() if at == day), "")
        write_streams(folder / "feed" / str(day), ROWS.get(case, lambda streams: streams)(good_streams(day)))
        FILES.get(case, lambda path: None)(folder / "feed" / str(day))

    def table(name: str, **columns: Any) -> dict[str, Any]:
        return {"path": f"{folder}/feed/{{day}}/{name}.csv*", "format": "csv", "time": "at", **columns}

    spec = make_spec(
        days={"first": FIRST, "last": LAST},
        source={
            "kind": "event_streams",
            "impressions": table("shown", impression_id="id"),
            "clicks": table("clicks", impression_id="shown", click_id="id"),
            "carts": table("carts", refers_to="click_id", click_id="click"),
            "conversions": table("orders", refers_to="click_id", click_id="click", value="paid"),
        },
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return judge(make_platform(folder), instance, spec, run_data)


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("truncated clicks", r"raw_events of .* was refused: .*clicks\.csv\.gz: Truncated compressed stream"),
        ("no carts", r"raw_events of .* was refused: no file at .*carts\.csv\*; deliver the file"),
        ("no orders", r"raw_conversions of .* was refused: no file at .*orders\.csv\*; deliver the file"),
        ("orders in milliseconds", r"raw_conversions of .* was refused: .*orders\.csv: as iso, 0 of .*as epoch_milli"),
    ],
)
def test_a_stream_that_cannot_be_read_refuses_its_day(case: str, why: str, log: dict[date, JudgedDay]) -> None:
    judged = log[DAY[case]]
    hold_counts(judged)
    assert (judged.verdict, judged.rows_in) == ("refused", 0)
    # What was delivered whole is landed all the same.
    assert (judged.landed is None) == ("raw_events" in why)
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(judged.reasons)


@pytest.mark.parametrize(("case", "kind"), [("clicks on nothing", "click"), ("orders at no time", "conversion")])
def test_events_that_belong_to_nothing_are_quarantined(case: str, kind: str, log: dict[date, JudgedDay]) -> None:
    judged = log[DAY[case]]
    hold_counts(judged)
    assert (judged.landed, judged.rows_in, judged.counts) == (GOOD_ROWS, GOOD_ROWS + 2, (GOOD_ROWS, 2))
    assert [row["row_kind"] for row in judged.quarantined] == [kind] * 2
    assert {row["source_file"] for row in judged.quarantined} == {
        f"{judged.day}/{'clicks' if kind == 'click' else 'orders'}.csv"
    }


def test_orders_from_the_future_give_no_label(log: dict[date, JudgedDay]) -> None:
    judged = log[DAY["orders to come"]]
    hold_counts(judged)
    # Each names a click that is there: it comes too late for it, and is counted so beside the samples.
    assert judged.counts == (GOOD_ROWS, 0)
    assert any(row["click"] for row in judged.admitted)
    assert not any(row["conversion"] for row in judged.admitted)


def test_the_days_between_go_on(log: dict[date, JudgedDay]) -> None:
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        if day not in DAY.values():
            hold_good(log[day])
