"""Attribution at its edges, case by case: windows, clock skew, touch, grace, unreadable times, repeated orders."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.data.attribution import credit_lookback, lookback, touch_lookback
from ml.data.dataset import DatasetSpec
from tests.ml.data.attribution_chain import FIRST, MIDNIGHT, dataset, read, run_chain, write_rows


def instants(folder: Path, spec: DatasetSpec, **streams: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], Any]:
    """The samples of a log of one day, written as rows, and what became of its events."""
    rows = {"clicks": [], "conversions": [], **streams}
    landed = {stream: [write_rows(folder / f"{stream}-0.parquet", stream, rows[stream])] for stream in rows}
    chain = run_chain(folder, spec, landed)
    return read(*chain.samples), chain.joined[0].events


def shown(name: str = "i", hour: float = 0, **more: Any) -> dict[str, Any]:
    at = MIDNIGHT + timedelta(hours=hour)
    return {"impression_id": name, "impression_time": at, "user_key": "ann", "item_key": "pen"} | more


def followed(stage: str, at: timedelta, **more: Any) -> dict[str, Any]:
    return {f"{stage}_time": MIDNIGHT + at, "user_key": "ann", "item_key": "pen"} | more


MICROSECOND = timedelta(microseconds=1)
REFERENCES = [("impression_id", "click_id"), ("impression_id", "impression_id"), ("user_item_time", "user_item_time")]


@pytest.mark.parametrize("modes", REFERENCES)
@pytest.mark.parametrize(
    ("stage", "window"), [("click", 6 * 3600), ("conversion", 24 * 3600), ("cart", 12 * 3600), ("favourite", 12 * 3600)]
)
def test_windows_hold_their_start_and_not_their_end(
    tmp_path: Path, modes: tuple[str, str], stage: str, window: int
) -> None:
    """At the first instant, a microsecond before the end and at the end: in seconds, to the microsecond."""
    spec = dataset(*modes, carts=modes[1])
    spec = spec.model_copy(update={"source": spec.source.model_copy(update={"favourites": spec.source.carts})})
    touched, end = timedelta(hours=2), timedelta(seconds=window)
    rows: dict[str, list[dict[str, Any]]] = {"impressions": [], "clicks": [], "carts": [], "favourites": []}
    for user, after in zip("abc", (timedelta(), end - MICROSECOND, end), strict=True):
        named = {"user_key": user, "click_id": user, "impression_id": user}
        rows["impressions"].append(shown(user, user_key=user))
        rows["clicks"].append(followed("click", after if stage == "click" else touched) | named)
        if stage != "click":
            rows.setdefault(f"{stage}s", []).append(followed(stage, touched + after) | named)
    samples, events = instants(tmp_path, spec, **rows)
    assert [(row[stage], row[f"{stage}_time"] is not None) for row in samples] == [(1, True), (1, True), (0, False)]
    assert (events[stage].credited, events[stage].late) == (2, 1)


@pytest.mark.parametrize(("after", "found"), [(0, "i2"), (5_000_000, "i2"), (5_000_001, "i1")])
def test_a_click_is_matched_within_the_clock_skew_before_its_impression(tmp_path: Path, after: int, found: str) -> None:
    spec = dataset("user_item_time", "user_item_time", skew=5)
    second = 1 + after / 3.6e9
    click = followed("click", timedelta(hours=1))
    samples, _ = instants(tmp_path, spec, impressions=[shown("i1"), shown("i2", second)], clicks=[click])
    assert {row["impression_id"]: row["click"] for row in samples} == {"i1": 0, "i2": 0} | {found: 1}
    assert [row["click_time"] for row in samples if row["click"]] == [MIDNIGHT + timedelta(hours=1)]


@pytest.mark.parametrize("touch", ["last", "first"])
@pytest.mark.parametrize(("before", "orphaned"), [(5_000_000, 0), (5_000_001, 1)])
def test_a_conversion_is_matched_within_the_clock_skew_before_its_click(
    tmp_path: Path, touch: str, before: int, orphaned: int
) -> None:
    spec = dataset("impression_id", "user_item_time", skew=5, touch=touch)
    click = followed("click", timedelta(hours=1), impression_id="i")
    bought = followed("conversion", timedelta(hours=1) - timedelta(microseconds=before))
    samples, events = instants(tmp_path, spec, impressions=[shown()], clicks=[click], conversions=[bought])
    assert events["conversion"].orphaned == orphaned
    assert samples[0]["conversion"] == 1 - orphaned


@pytest.mark.parametrize(("touch", "second"), [("last", 3), ("first", 1)])
def test_of_several_clicks_within_the_skew_after_a_conversion_touch_chooses_one(
    tmp_path: Path, touch: str, second: int
) -> None:
    spec = dataset("impression_id", "user_item_time", skew=5, touch=touch)
    clicks = [followed("click", timedelta(hours=1, seconds=after), impression_id="i") for after in (1, 3)]
    sold = followed("conversion", timedelta(hours=1))
    [row], _ = instants(tmp_path, spec, impressions=[shown()], clicks=clicks, conversions=[sold])
    assert (row["conversion"], row["click_time"]) == (1, MIDNIGHT + timedelta(hours=1, seconds=second))


@pytest.mark.parametrize(("touch", "hour"), [("last", 5), ("first", 1), ("none", 1)])
def test_of_several_clicks_on_the_impression_named_touch_chooses_one(tmp_path: Path, touch: str, hour: int) -> None:
    spec = dataset("impression_id", "impression_id", touch=touch)
    clicks = [followed("click", timedelta(hours=at), impression_id="i") for at in (1, 3, 5)]
    bought = followed("conversion", timedelta(hours=7), impression_id="i")
    [row], _ = instants(tmp_path, spec, impressions=[shown()], clicks=clicks, conversions=[bought])
    assert (row["conversion"], row["click_time"]) == (1, MIDNIGHT + timedelta(hours=hour))


def test_of_several_clicks_with_one_id_the_first_is_the_one_named(tmp_path: Path) -> None:
    impressions = [shown("late", 3), shown("early")]
    clicks = [
        followed("click", timedelta(hours=at), click_id="c", impression_id=name)
        for at, name in ((4, "late"), (1, "early"))
    ]
    samples, _ = instants(
        tmp_path,
        dataset("impression_id", "click_id"),
        impressions=impressions,
        clicks=clicks,
        conversions=[bought("o", "c", 5)],
    )
    assert {row["impression_id"]: row["conversion"] for row in samples} == {"late": 0, "early": 1}


def test_first_touch_passes_over_a_click_whose_window_is_over(tmp_path: Path) -> None:
    spec = dataset("impression_id", "user_item_time", touch="first")
    impressions = [shown("old"), shown("near", 3), shown("last", 8)]
    clicks = [
        followed("click", timedelta(hours=at), impression_id=name)
        for at, name in ((0, "old"), (3, "near"), (8, "last"))
    ]
    held = followed("conversion", timedelta(hours=24), value=1.0)
    over = followed("conversion", timedelta(hours=32), value=2.0)
    samples, events = instants(tmp_path, spec, impressions=impressions, clicks=clicks, conversions=[held, over])
    assert {row["impression_id"]: row["value"] for row in samples} == {"old": None, "near": 1.0, "last": None}
    assert (events["conversion"].credited, events["conversion"].late) == (1, 1)


def test_a_late_click_takes_no_conversion_from_one_in_time_on_the_impression_named(tmp_path: Path) -> None:
    spec = dataset("impression_id", "impression_id")
    clicks = [followed("click", timedelta(hours=at), impression_id="i") for at in (1, 7)]
    bought = followed("conversion", timedelta(hours=8), impression_id="i")
    [row], _ = instants(tmp_path, spec, impressions=[shown()], clicks=clicks, conversions=[bought])
    assert (row["conversion"], row["click_time"]) == (1, MIDNIGHT + timedelta(hours=1))


@pytest.mark.parametrize(("days", "late", "orphaned"), [(1, 1, 0), (1 + 7, 1, 0), (1 + 7 + 1, 0, 1)])
def test_a_click_days_after_the_impression_it_names_is_late_within_the_grace(
    tmp_path: Path, days: int, late: int, orphaned: int
) -> None:
    spec = dataset("impression_id", "click_id")
    assert touch_lookback(spec) == spec.click_days + 7 == 8
    landed: dict[str, list[Path]] = {"impressions": [], "clicks": [], "conversions": []}
    for day in range(days + 1):
        rows = {"impressions": [shown()] if day == 0 else [], "conversions": []}
        rows["clicks"] = [followed("click", timedelta(days=day), impression_id="i")] if day == days else []
        for stream, made in landed.items():
            made.append(write_rows(tmp_path / f"{stream}-{day}.parquet", stream, rows[stream]))
    chain = run_chain(tmp_path, spec, landed)
    assert (chain.joined[days].events["click"].late, chain.joined[days].events["click"].orphaned) == (late, orphaned)
    assert [row["click"] for row in read(chain.samples[0])] == [0]
    assert [row["row_kind"] for row in read(chain.samples[days])] == ["click"] * orphaned


@pytest.mark.parametrize(("again", "clicked"), [(0, 0), (1, 1), (2, 2)])
def test_a_click_that_names_an_id_of_several_days_belongs_to_the_nearest(
    tmp_path: Path, again: int, clicked: int
) -> None:
    spec = dataset("impression_id", "click_id", click_window_seconds=3 * 86400)
    landed: dict[str, list[Path]] = {"impressions": [], "clicks": [], "conversions": []}
    for day in range(3):
        rows: dict[str, list[dict[str, Any]]] = {"impressions": [], "clicks": [], "conversions": []}
        rows["impressions"] = [shown(hour=24.0 * day)] if day in (0, again) else []
        rows["clicks"] = [followed("click", timedelta(hours=50), impression_id="i")] if day == 2 else []
        for stream, made in landed.items():
            made.append(write_rows(tmp_path / f"{stream}-{day}.parquet", stream, rows[stream]))
    chain = run_chain(tmp_path, spec, landed)
    labels = {day: row["click"] for day, path in enumerate(chain.samples) for row in read(path)}
    assert labels == dict.fromkeys({0, again}, 0) | {clicked: 1}


def test_an_impression_without_a_readable_time_takes_no_label_and_loses_no_event(tmp_path: Path) -> None:
    """It has no window: what names it becomes a row of its own, and the impression keeps its row."""
    for modes in REFERENCES[:2]:
        folder = tmp_path / modes[1]
        folder.mkdir()
        untimed = shown() | {"impression_time": None, "unparsed_columns": ["impression_time=?"]}
        click = followed("click", timedelta(hours=1), impression_id="i", click_id="c")
        bought = followed("conversion", timedelta(hours=2), impression_id="i", click_id="c")
        samples, events = instants(folder, dataset(*modes), impressions=[untimed], clicks=[click], conversions=[bought])
        assert [row["row_kind"] for row in samples] == ["impression", "click", "conversion"]
        assert (samples[0]["click"], samples[0]["conversion"], samples[0]["mature"]) == (0, 0, False)
        assert events["conversion"].orphaned == events["click"].orphaned == 1


def test_far_off_and_infinite_times_overflow_nothing(tmp_path: Path) -> None:
    far = [-(2**63) + 2 + 86_400_000_000 * 200, 2**63 - 2, 2**63 - 1, -(2**63) + 1]
    rows = {
        "impressions": [shown(f"i{n}", impression_time=time) for n, time in enumerate(far)],
        "clicks": [followed("click", timedelta(), impression_id=f"i{n}") for n in range(4)],
        "conversions": [
            followed("conversion", timedelta(), impression_id=f"i{n}") | {"conversion_time": time}
            for n, time in enumerate(reversed(far))
        ],
    }
    landed = {stream: [write_rows(tmp_path / f"{stream}-0.parquet", stream, rows[stream])] for stream in rows}
    for mode, touch in (("impression_id", "last"), ("impression_id", "first"), ("user_item_time", "first")):
        [joined] = run_chain(tmp_path, dataset(mode, mode, touch=touch, skew=5), landed).joined
        tally = joined.events["conversion"]
        assert joined.rows == 4 + tally.orphaned + joined.events["click"].orphaned
        assert tally.arrived == 4 == tally.credited + tally.late + tally.repeated + tally.orphaned


def bought(order: str | None, click: str, hour: float = 2, value: float | None = 4.0, **more: Any) -> dict[str, Any]:
    return followed("conversion", timedelta(hours=hour), click_id=click, order_id=order, value=value) | more


ORDERS = {
    "delivered twice": ([bought("o", "c1"), bought("o", "c1", 3, 5.0)], [1, 2], 4.0),
    "the earlier one came later": ([bought("o", "c1", 3, 5.0), bought("o", "c1")], [2, 1], 4.0),
    "two items": ([bought("o", "c1"), bought("o", "c2", value=8.0)], [1, 1], 12.0),
    "two items of one click": ([bought("o", "c1"), bought("o", "c1", item_key="ink", value=8.0)], [1, 1], 12.0),
    "an exact copy": ([bought(None, "c1"), bought(None, "c1")], [1, 2], 4.0),
    "an exact copy without value": ([bought(None, "c1", value=None), bought(None, "c1", value=None)], [1, 2], None),
    "bought again": ([bought(None, "c1"), bought(None, "c1", 3)], [1, 1], 8.0),
    "another value": ([bought(None, "c1"), bought(None, "c1", value=8.0)], [1, 1], 12.0),
    "no reference": ([bought("o", "c1"), bought("o", "c1", click_id=None)], [1, 1], 4.0),
    "no time": ([bought("o", "c1") | {"conversion_time": None}, bought("o", "c1")], [1, 1], 4.0),
    "an orphan again": ([bought("o", "gone"), bought("o", "gone", 3)], [1, 2], None),
}


@pytest.mark.parametrize("case", ORDERS)
def test_an_order_counts_once_however_often_it_is_delivered(tmp_path: Path, case: str) -> None:
    conversions, ranks, value = ORDERS[case]
    impressions = [shown("i1"), shown("i2")]
    clicks = [followed("click", timedelta(hours=1), click_id=f"c{n}", impression_id=f"i{n}") for n in (1, 2)]
    samples, events = instants(
        tmp_path, dataset("impression_id", "click_id"), impressions=impressions, clicks=clicks, conversions=conversions
    )
    assert sum(row["value"] or 0 for row in samples if row["row_kind"] == "impression") == (value or 0)
    repeats = {row["source_row"]: row["duplicate_rank"] for row in samples if row["row_kind"] == "conversion"}
    assert {row: rank for row, rank in repeats.items() if rank} == {n: r for n, r in enumerate(ranks, 1) if r > 1}
    assert events["conversion"].repeated == sum(rank > 1 for rank in ranks)


def test_an_order_delivered_again_on_a_later_day_is_a_repeat_there(tmp_path: Path) -> None:
    spec = dataset("impression_id", "click_id")
    landed: dict[str, list[Path]] = {"impressions": [], "clicks": [], "conversions": []}
    # Of the second day's, one says that it happened before the first: by then that one was credited.
    again = [[bought("o", "c", 3)], [bought("o", "c", 2), bought("o", "c", 27)], [bought("o", "c", 50)]]
    for day, conversions in enumerate(again):
        rows = {"impressions": [shown()] if day == 0 else [], "conversions": conversions}
        rows["clicks"] = [followed("click", timedelta(hours=1), click_id="c", impression_id="i")] if day == 0 else []
        for stream, made in landed.items():
            made.append(write_rows(tmp_path / f"{stream}-{day}.parquet", stream, rows[stream]))
    chain = run_chain(tmp_path, spec, landed)
    assert [row["duplicate_rank"] for path in chain.credits for row in read(path)] == [1, 2, 3, 4]
    [first] = read(chain.samples[0])
    assert (first["conversion"], first["value"]) == (1, 4.0)
    assert [row["duplicate_rank"] for row in read(*chain.samples[1:])] == [2, 3, 4]
    assert [day.events["conversion"].repeated for day in chain.joined] == [0, 2, 1]


def test_touch_none_refuses_streams_of_which_nothing_could_be_credited() -> None:
    with pytest.raises(ValueError, match=r"but carts name neither click nor impression .*set touch to last or first"):
        dataset("impression_id", "click_id", carts="user_item_time", touch="none")


def test_lookbacks_cover_the_windows_and_a_week_of_grace() -> None:
    spec = dataset("impression_id", "click_id")
    assert (touch_lookback(spec), credit_lookback(spec)) == (1 + 7, 1 + 1 + 7)
    assert lookback(FIRST, 2) == [FIRST - timedelta(days=2), FIRST - timedelta(days=1), FIRST]
    assert touch_lookback(dataset("implied", "click_id")) == 0
    assert touch_lookback(dataset("user_item_time", "click_id")) == 1
