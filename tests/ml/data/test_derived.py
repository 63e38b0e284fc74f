"""Derived fields against a slow plain-Python reference, and that nothing at or after an impression changes them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ml.data.dataset import DatasetSpec
from ml.data.derived import derive_features
from tests.ml.data.derived_reference import reference_feature
from tests.ml.data.landed_log import COLUMNS, FIRST, TIME, Logged, dataset, land, make_behaviour, read, rows_of

DAYS = 3
LAST = FIRST + timedelta(days=DAYS - 1)
MINUTES = 1440


def sequence(name: str, of: str, stage: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "entity": "user", "kind": "sequence", "of": of, "behaviour": stage, **more}


def aggregate(name: str, by: Sequence[str], count: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "entity": "item", "kind": "number", "aggregate": {"by": by, "count": count, **more}}


DERIVED = [
    sequence("clicked", "item", "click", max_length=3, behaviour_days=2),
    sequence("clicked_shops", "shop", "click", max_length=50, behaviour_days=1),
    sequence("bought", "item", "conversion", max_length=1, behaviour_days=2),
    sequence("seen_prices", "price", "impression", max_length=2, behaviour_days=1),
    sequence("carted", "item", "cart", max_length=5, behaviour_days=2),
    aggregate("item_ctr", ["item"], "click", per="impression", days=2),
    aggregate("user_conversions", ["user"], "conversion", days=2),
    aggregate("shop_user_clicks", ["shop", "user"], "click", days=1),
    aggregate("user_mean_price", ["user"], "click", mean_of="price", days=2),
    aggregate("price_views", ["price"], "impression", days=1),
]
#: Times fall on few instants, so that many are the same.
SLOT = 180


def derived(spec: DatasetSpec, impressions: Path, events: Sequence[Path], day: date, folder: Path) -> list[Any]:
    out = folder / "derived.parquet"
    count = derive_features(spec=spec, day=day, impressions=impressions, events=events, scratch=folder, out=out)
    rows = read(out)
    assert len(rows) == count
    return rows


def some_log(random: Random, stages: Sequence[Any], *, rows: int, first: int, last: int) -> list[Logged]:
    """Rows at `first` to `last` minutes, some landed a day before or after their own."""
    log = []
    for _ in range(rows):
        minute = random.randrange(first, last + 1, SLOT)
        stage = random.choice(stages)
        ids = [f"i{n}" for n in range(12)] if stage == "impression" else [f"c{n}" for n in range(12)]
        log.append(
            Logged(
                stage=stage,
                minute=minute,
                day=min(DAYS - 1, max(0, minute // MINUTES + random.choice([0, 0, 0, 0, 1, -1]))),
                user=random.choice(["ann", "ann", "ann", "bob", None]),
                item=random.choice(["pen", "pen", "ink", None]),
                shop=random.choice(["s", "t", None]),
                price=random.choice([0.5, 2.0, 7.25, float("nan"), None]),
                id=random.choice([*ids, None]),
                names=random.choice([f"i{n}" for n in range(12)] + [f"c{n}" for n in range(12)] + [None]),
                order=random.choice(["o1", "o2", "o3", None]),
            )
        )
    return log


def write_events(folder: Path, events: Sequence[Logged], day: int) -> Path:
    """A day's behaviour events, given directly."""
    path = folder / f"events-{day}.parquet"
    happened = [row for row in events if row.day == day]
    columns = {
        "stage": pa.array([row.stage for row in happened], pa.string()),
        "event_time": pa.array([row.time for row in happened], pa.timestamp("us")),
        "user_key": pa.array([row.user for row in happened], pa.string()),
    }
    fields = ("user", "item", "shop", "price")
    columns |= {name: pa.array([getattr(r, name) for r in happened], COLUMNS["impression"][name]) for name in fields}
    pq.write_table(pa.table(columns), path)
    return path


def same(one: Any, other: Any) -> bool:
    return one == pytest.approx(other, abs=1e-12) if isinstance(one, float) and other is not None else one == other


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(seed=st.integers(0, 2**32))
def test_every_value_is_the_references(seed: int) -> None:
    random = Random(seed)
    spec = dataset(DERIVED, clicks="impression_id", follows="click_id")
    events = some_log(random, spec.stages, rows=150, first=0, last=DAYS * MINUTES)
    day = (DAYS - 1) * MINUTES
    shown = some_log(random, ["impression"], rows=20, first=day - SLOT, last=day + MINUTES)
    shown = [replace(row, day=DAYS - 1) for row in shown] + [Logged("impression", None, DAYS - 1, "ann", "pen", "s")]
    with TemporaryDirectory() as name:
        folder = Path(name)
        landed = land(spec, shown, "impression", DAYS - 1, folder)
        files = [write_events(folder, events, day) for day in range(DAYS)]
        made = derived(spec, landed, files, LAST, folder)
        impressions, written = read(landed), [row for path in files for row in read(path)]
    assert [row["source_row"] for row in made] == [row["source_row"] for row in impressions]
    for row, impression in zip(made, impressions, strict=True):
        for field in spec.derived_fields:
            expected = reference_feature(field, impression, written, day=LAST, zone=spec.timezone)
            assert same(row[field.name], expected), (field.name, impression, row[field.name], expected)


@pytest.mark.parametrize(
    ("clicks", "follows"),
    [
        ("impression_id", "click_id"),
        ("impression_id", "impression_id"),
        ("user_item_time", "user_item_time"),
        ("user_item_time", "click_id"),
        ("implied", "click_id"),
    ],
)
@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(seed=st.integers(0, 2**32), slot=st.integers(0, MINUTES // SLOT - 1))
def test_nothing_at_or_after_an_impression_changes_its_features(
    clicks: str, follows: str, seed: int, slot: int
) -> None:
    random = Random(seed)
    spec = dataset(DERIVED, clicks=clicks, follows=follows)
    now = (DAYS - 1) * MINUTES + slot * SLOT
    judged = Logged("impression", now, DAYS - 1, "ann", "pen", "s", 2.0, id="judged")
    past = [*some_log(random, spec.stages, rows=150, first=0, last=now - SLOT), judged]
    later = some_log(random, spec.stages, rows=100, first=now, last=(DAYS + 1) * MINUTES)
    altered = [row for row in later if random.random() < 0.5]
    altered += some_log(random, spec.stages, rows=50, first=now, last=(DAYS + 1) * MINUTES)
    features = []
    with TemporaryDirectory() as name:
        for version, future in enumerate((later, altered)):
            folder = Path(name) / str(version)
            log = shuffled_in(random, past, future)
            events = make_behaviour(spec, log, days=DAYS, folder=folder)
            made = derived(spec, folder / f"impression-{DAYS - 1}.parquet", events, LAST, folder)
            # A row's number in its file may change, nothing else.
            kept = [row in past for row in rows_of(log, "impression", DAYS - 1)]
            features.append([{**row, "source_row": 0} for row, old in zip(made, kept, strict=True) if old])
    assert features[0], "the judged impression, alone where the day has just begun"
    assert features[0] == features[1]


def shuffled_in(random: Random, first: Sequence[Logged], second: Sequence[Logged]) -> list[Logged]:
    """Both lists in one, each in its own order: what arrives in between moves rows, but swaps none."""
    merged = list(first)
    for row in reversed(second):
        merged.insert(random.randrange(len(merged) + 1), row)
    return merged


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text)


def one_day(
    folder: Path, fields: Sequence[dict[str, Any]], times: Sequence[str], events: Sequence[tuple[str, str]], **more: Any
) -> list[Any]:
    """Features of impressions at `times` (UTC; of ann, pen, s) after click events (time, item) of the same."""
    day = more.pop("day")
    spec = dataset(fields, clicks="impression_id", follows="click_id", **more)
    shown = {"impression_time": [utc(time) for time in times], "source_row": range(1, len(times) + 1)}
    keys = {"user_key": "ann", "user": "ann", "item": "pen", "shop": "s", "price": 2.0}
    impressions = folder / "impressions.parquet"
    pq.write_table(pa.table(shown | {name: [value] * len(times) for name, value in keys.items()}), impressions)
    clicks = {"stage": ["click"] * len(events), "event_time": pa.array([utc(time) for time, _ in events], TIME)}
    clicks |= {name: [value] * len(events) for name, value in keys.items()}
    happened = folder / "events.parquet"
    pq.write_table(pa.table(clicks | {"item": pa.array([item for _, item in events], pa.string())}), happened)
    return derived(spec, impressions, [happened], day, folder)


def test_an_instant_belongs_to_what_comes_after_it(tmp_path: Path) -> None:
    fields = [sequence("clicked", "item", "click", behaviour_days=1)]
    events = [("2026-03-03 12:00", "oldest"), ("2026-03-04 11:59:59.999999", "newest"), ("2026-03-04 12:00", "same")]
    times = ["2026-03-04 12:00", "2026-03-04 12:00:00.000001", "2026-03-04 23:59:59"]
    rows = one_day(tmp_path, fields, times, events, day=date(2026, 3, 4))
    assert [row["clicked"] for row in rows] == [["oldest", "newest"], ["newest", "same"], ["newest", "same"]]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 50])
def test_a_sequence_is_the_newest_values_in_the_order_in_which_they_were_logged(tmp_path: Path, length: int) -> None:
    fields = [sequence("clicked", "item", "click", max_length=length)]
    events = [(f"2026-03-04 0{n // 4}:00", f"i{n}") for n in range(20)]
    times = [f"2026-03-04 0{hour}:00" for hour in range(6)]
    rows = one_day(tmp_path, fields, times, events, day=date(2026, 3, 4))
    items = [f"i{n}" for n in range(20)]
    assert [row["clicked"] for row in rows] == [items[: 4 * hour][-length:] for hour in range(6)]


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        ("2026-03-30", "2026-03-28 23:00", "2026-03-29 22:00"),  # the day before has 23 hours
        ("2026-03-29", "2026-03-27 23:00", "2026-03-28 23:00"),
        ("2026-10-26", "2026-10-24 22:00", "2026-10-25 23:00"),  # the day before has 25 hours
        ("2026-10-25", "2026-10-23 22:00", "2026-10-24 22:00"),
    ],
)
def test_complete_days_begin_and_end_at_local_midnight(tmp_path: Path, day: str, start: str, end: str) -> None:
    fields = [aggregate("clicks", ["shop"], "click", days=1), sequence("clicked", "item", "click", behaviour_days=1)]
    moment = timedelta(microseconds=1)
    edges = [utc(start) - moment, utc(start), utc(end) - moment, utc(end), utc(end) + moment]
    events = [(edge.isoformat(), f"i{n}") for n, edge in enumerate(edges)]
    [first, late, outside] = one_day(
        tmp_path,
        fields,
        [end, (utc(end) + timedelta(hours=22)).isoformat(), (utc(end) - moment).isoformat()],
        events,
        day=date.fromisoformat(day),
        timezone="Europe/Berlin",
    )
    assert first["clicks"] == late["clicks"] == 2
    # A sequence looks back 86,400 seconds, whatever the length of the day.
    seen = [f"i{n}" for n, edge in enumerate(edges) if utc(end) - timedelta(days=1) <= edge < utc(end)]
    assert first["clicked"] == seen
    assert (outside["clicks"], outside["clicked"]) == (None, None)


def test_what_was_never_seen_counts_nothing_and_has_no_rate(tmp_path: Path) -> None:
    fields = [
        aggregate("clicks", ["item"], "click"),
        aggregate("ctr", ["item"], "click", per="impression"),
        aggregate("mean_price", ["item"], "click", mean_of="price"),
        sequence("bought", "item", "conversion"),
    ]
    events = [("2026-03-03 12:00", "ink"), ("2026-03-04 12:00", "pen")]
    [row] = one_day(tmp_path, fields, ["2026-03-04 13:00"], events, day=date(2026, 3, 4))
    assert row == {"source_row": 1, "clicks": 0.0, "ctr": None, "mean_price": None, "bought": []}


def test_a_mean_that_no_number_holds_is_unknown(tmp_path: Path) -> None:
    spec = dataset([aggregate("mean_price", ["item"], "click", mean_of="price")], clicks="implied", follows="click_id")
    huge = [Logged("click", 0, 0, "ann", "pen", "s", 1.7e308)] * 2
    shown = land(spec, [Logged("impression", MINUTES, 1, "ann", "pen", "s")], "impression", 1, tmp_path)
    files = [write_events(tmp_path, huge, day) for day in range(2)]
    [row] = derived(spec, shown, files, FIRST + timedelta(days=1), tmp_path)
    assert row["mean_price"] is None


def test_the_same_events_give_the_same_bytes_and_every_row_in_its_place(tmp_path: Path) -> None:
    random = Random(7)
    spec = dataset(DERIVED, clicks="impression_id", follows="click_id")
    events = some_log(random, spec.stages, rows=8000, first=0, last=DAYS * MINUTES)
    events = [replace(row, item=f"i{n % 90}", price=n / 7) for n, row in enumerate(events)]
    day = (DAYS - 1) * MINUTES
    shown = some_log(random, ["impression"], rows=4000, first=day, last=day + MINUTES - SLOT)
    shown = [replace(row, day=DAYS - 1, item=f"i{n % 100}") for n, row in enumerate(shown)]
    landed = land(spec, shown, "impression", DAYS - 1, tmp_path)
    files = [write_events(tmp_path, events, day) for day in range(DAYS)]
    written = []
    for name in ("a", "b"):
        rows = derived(spec, landed, files, LAST, tmp_path / name)
        assert [row["source_row"] for row in rows] == list(range(1, len(shown) + 1))
        written.append((tmp_path / name / "derived.parquet").read_bytes())
    assert written[0] == written[1]
