"""Each click, cart and conversion against a slow plain-Python reference, in every way that a log can refer."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ml.data.attribution import touch_lookback
from tests.ml.data.attribution_chain import MIDNIGHT, dataset, read, run_chain, write_day
from tests.ml.data.attribution_reference import (
    CONVERSION_WINDOW,
    STAGE_WINDOW,
    Credit,
    Event,
    Touch,
    reference_credit,
    reference_ranks,
    reference_touches,
)

DAYS = 3
Streams = dict[str, list[Event]]
MODES = [
    (conversions, touch)
    for conversions in ("click_id", "impression_id", "user_item_time")
    for touch in ("last", "first", "none")
    if (conversions, touch) != ("user_item_time", "none")
]
hours = st.integers(0, DAYS * 24 - 1)
maybe_hours = st.one_of(hours, hours, hours, st.none())
users, items = st.sampled_from(["ann", "bob", None]), st.sampled_from(["pen", "ink"])


def numbered(events: list[Event], ids: Sequence[str | None]) -> list[Event]:
    ordered = sorted(events, key=lambda event: event.day)
    return [
        Event(
            e.hour,
            e.user,
            e.item,
            id=ids[i % len(ids)],
            names=e.names,
            value=e.value or 2.0**i,
            order=e.order,
            row=i + 1,
        )
        for i, e in enumerate(ordered)
    ]


@st.composite
def logs(draw: st.DrawFn, click_mode: str, conversion_mode: str) -> Streams:
    shown = draw(st.lists(st.builds(Event, maybe_hours, users, items), min_size=8, max_size=16))
    impressions = numbered(shown, [f"i{n}" if n != 6 else None for n in range(9)])
    ids = st.sampled_from(["gone", None, *(e.id for e in impressions)])
    clicks = numbered(
        draw(st.lists(st.builds(Event, maybe_hours, users, items, names=ids), min_size=8, max_size=16)),
        ["c0", "c1", "c2", "c3", "c1", None, "c4", "c5", "c6"],
    )
    click_ids = [e.id for e in (impressions if click_mode == "implied" else clicks)]
    named = st.sampled_from(["gone", None, *click_ids]) if conversion_mode == "click_id" else ids
    followed = st.builds(Event, maybe_hours, users, items, names=named, order=st.sampled_from([None, None, "o1", "o2"]))
    conversions = draw(st.lists(followed, min_size=8, max_size=14))
    again = draw(st.lists(st.tuples(st.sampled_from(conversions), maybe_hours, st.booleans()), max_size=5))
    once = numbered(conversions, [None])
    copies = [
        Event(one.hour if same else hour, one.user, one.item, names=one.names, value=one.value, order=one.order)
        for one, hour, same in ((once[conversions.index(first)], hour, same) for first, hour, same in again)
    ]
    return {
        "impressions": impressions,
        "clicks": clicks,
        "conversions": numbered([*once, *copies], [None]),
        "carts": numbered(draw(st.lists(followed, max_size=8)), [None]),
    }


def land(folder: Path, click_mode: str, conversion_mode: str, streams: Streams) -> dict[str, list[Path]]:
    modes = {"impressions": "", "clicks": click_mode, "conversions": conversion_mode, "carts": conversion_mode}
    return {
        stream: [write_day(folder, stream, streams[stream], day, mode) for day in range(DAYS)]
        for stream, mode in modes.items()
    }


def expected_rows(streams: Streams, touches: list[Touch], credited: dict[str, dict[int, Credit]]) -> dict[int, Any]:
    """Each impression's labels by its row: only the first row of an id on a day is labelled."""
    found: dict[int, dict[str, Any]] = {}
    for shown in streams["impressions"]:
        same = [e for e in streams["impressions"] if e.id is not None and (e.day, e.id) == (shown.day, shown.id)]
        times = {e.hour for e in same if shown.hour is not None and shown.row == same[0].row}

        def own(one: Event | None, shown: Event = shown, times: set[int | None] = times) -> bool:
            return one is not None and one.id == shown.id and one.id is not None and one.hour in times

        clicks = [t.click.at for t in touches if own(t.shown) and not t.late and t.click.hour is not None]
        events = {
            stream: [e for e in streams[stream] if own(credited[stream][e.row].shown) and e.hour is not None]
            for stream in credited
        }
        in_time = {
            stream: [e for e in events[stream] if not credited[stream][e.row].late and streams[stream]]
            for stream in events
        }
        found[shown.row] = {
            "click": int(bool(clicks)),
            "conversion": int(bool(in_time["conversions"])),
            "value": sum(e.value for e in in_time["conversions"]) or None,
            "cart": int(bool(in_time["carts"])),
            "cart_time": min((MIDNIGHT + timedelta(hours=e.at) for e in in_time["carts"]), default=None),
            "duplicate_rank": 1 + [e.row for e in same].index(shown.row) if same else 1,
        }
    return found


@pytest.mark.parametrize(("conversion_mode", "touch"), MODES)
@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(data=st.data())
def test_every_event_goes_where_the_reference_says_exactly_once(
    conversion_mode: str, touch: str, data: st.DataObject
) -> None:
    click_mode = data.draw(st.sampled_from(["impression_id", "user_item_time", "implied"]))
    skew = data.draw(st.sampled_from([0, 0, 1]))
    streams = data.draw(logs(click_mode, conversion_mode))
    spec = dataset(click_mode, conversion_mode, carts=conversion_mode, touch=touch, skew=skew * 3600)
    shown = streams["impressions"]
    touches = reference_touches(click_mode, shown, streams["clicks"], lookback=touch_lookback(spec), skew=skew)
    ranks = reference_ranks(conversion_mode, streams["conversions"])
    credited: dict[str, dict[int, Credit]] = {
        stream: {
            e.row: reference_credit(conversion_mode, touch, e, shown, touches, window=window, skew=skew)
            for e in streams[stream]
        }
        for stream, window in (("conversions", CONVERSION_WINDOW), ("carts", STAGE_WINDOW))
    }
    credited["conversions"] |= {row: Credit() for row, rank in ranks.items() if rank > 1}
    with TemporaryDirectory() as folder:
        chain = run_chain(Path(folder), spec, land(Path(folder), click_mode, conversion_mode, streams))
        touched, samples = read(*chain.touches), read(*chain.samples)
        credits = {"conversions": read(*chain.credits), "carts": read(*chain.stages["cart"])}
        tallies = [day.events["conversion"] for day in chain.joined]

    assert [place(row, "shown") for row in touched] == [place_of(t.shown) for t in touches]
    assert [row["late"] for row in touched if row["shown_time"]] == [t.late for t in touches if readable(t.shown)]
    for stream, rows in credits.items():
        expected = {row: (place_of(credit.shown), credit.late) for row, credit in credited[stream].items()}
        assert {row["source_row"]: (place(row, "credited"), row["late"]) for row in rows} == expected
    assert {row["source_row"]: row["duplicate_rank"] for row in credits["conversions"]} == ranks

    labelled = {row["source_row"]: row for row in samples if row["row_kind"] == "impression"}
    expected_labels = expected_rows(streams, touches, credited)
    if click_mode == "implied":
        expected_labels = {row: labels | {"click": 1} for row, labels in expected_labels.items()}
    assert {row: {name: labelled[row][name] for name in labels} for row, labels in expected_labels.items()} == (
        expected_labels
    )
    # One conversion is credited at most once, to one row: the values of all rows are no more than those credited.
    counted = [e.value for e in streams["conversions"] if place_of(credited["conversions"][e.row].shown)]
    assert sum(row["value"] or 0 for row in labelled.values()) <= sum(counted)
    clicks = [] if click_mode == "implied" else [t.click for t in touches if t.shown is None or t.click.hour is None]
    for kind, orphans in {
        "click": clicks,
        **{
            stream[:-1]: [e for e in streams[stream] if credited[stream][e.row].shown is None or e.hour is None]
            for stream in credited
        },
    }.items():
        found = sorted(row["source_row"] for row in samples if row["row_kind"] == kind)
        assert found == sorted(one.row for one in orphans)
    assert sum(day.arrived for day in tallies) == len(streams["conversions"])
    assert sum(day.repeated for day in tallies) == sum(rank > 1 for rank in ranks.values())
    assert all(day.arrived == day.credited + day.late + day.repeated + day.orphaned for day in tallies)


def place(row: dict[str, Any], prefix: str) -> Any:
    """The impression that a row names, as id and time."""
    return None if row[f"{prefix}_time"] is None else (row[f"{prefix}_impression"], row[f"{prefix}_time"])


def place_of(shown: Event | None) -> Any:
    return (shown.id, MIDNIGHT + timedelta(hours=shown.at)) if shown is not None and readable(shown) else None


def readable(shown: Event | None) -> bool:
    return shown is not None and shown.hour is not None
