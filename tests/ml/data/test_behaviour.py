"""Behaviour events: what each one knows of the impression that it follows, and which deliveries count."""

from collections.abc import Sequence
from datetime import date, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from ml.data.attribution import credit_lookback, touch_lookback
from ml.data.behaviour import (
    FieldsNotLanded,
    behaviour_columns,
    behaviour_lookback,
    behaviour_reach,
    behaviour_stages,
    landed_stages,
    write_behaviour_events,
)
from ml.data.dataset import DatasetSpec
from tests.ml.data.landed_log import FIRST, START, Logged, dataset, land, make_behaviour, read

HOUR = 60
DAY = 24 * HOUR


def aggregate(count: str, **more: Any) -> dict[str, Any]:
    by = {"by": ["user", "item", "shop"], "count": count, "days": 1, **more}
    return {"name": f"{count}s", "entity": "item", "kind": "number", "aggregate": by}


COUNTED = [aggregate("click", mean_of="price"), aggregate("cart"), aggregate("conversion")]


def shown(minute: int | None, id: str, shop: str, price: float, user: str | None = "ann") -> Logged:
    day = 0 if minute is None else minute // DAY
    return Logged("impression", minute, day, user, "pen", shop, price, id=id)


def event(stage: Any, minute: int | None, names: str | None = None, **more: Any) -> Logged:
    return Logged(stage, minute, more.pop("day", 0 if minute is None else minute // DAY), names=names, **more)


def happened(spec: DatasetSpec, log: Sequence[Logged], folder: Path, *, days: int = 2) -> list[list[tuple[Any, ...]]]:
    """Per day the events: stage, hour, user, and the fields."""
    made = [read(path) for path in make_behaviour(spec, log, days=days, folder=folder)]
    fields_of = itemgetter(*behaviour_columns(spec))
    return [
        [
            (row["stage"], (row["event_time"] - START) / timedelta(hours=1), row["user_key"], *fields_of(row))
            for row in rows
        ]
        for rows in made
    ]


def test_an_event_has_the_fields_of_the_impression_it_names_whenever_it_comes(tmp_path: Path) -> None:
    spec = dataset(COUNTED, clicks="impression_id", follows="click_id")
    log = [
        shown(9 * HOUR, "i", "s", 2.0),
        event("click", 10 * HOUR, "i", id="c"),
        event("click", 20 * HOUR, "i", id="late"),
        event("cart", 10 * HOUR, "c"),
        event("conversion", 30 * HOUR, "c"),
        event("conversion", None, "c"),
    ]
    of = ("ann", "ann", "pen", "s", 2.0)
    assert happened(spec, log, tmp_path) == [
        [("click", 10.0, *of), ("click", 20.0, *of), ("cart", 10.0, *of)],
        [("conversion", 30.0, *of)],
    ]


@pytest.mark.parametrize("follows", ["impression_id", "user_item_time"])
def test_of_several_impressions_the_latest_at_or_before_the_event_counts(tmp_path: Path, follows: str) -> None:
    spec = dataset(COUNTED, clicks=follows, follows=follows)
    log = [
        shown(1 * HOUR, "i", "old", 1.0),
        shown(2 * HOUR, "i", "s", 2.0),
        shown(3 * HOUR, "i", "future", 3.0),
        shown(None, "i", "never", 4.0),
        event("click", 2 * HOUR, "i", user="ann", item="pen"),
        event("conversion", 2 * HOUR, "i", user="ann", item="pen"),
        event("conversion", HOUR // 2, "i", user="ann", item="pen"),
    ]
    assert happened(spec, log, tmp_path, days=1) == [
        [
            ("click", 2.0, "ann", "ann", "pen", "s", 2.0),
            ("conversion", 2.0, "ann", "ann", "pen", "s", 2.0),
            ("conversion", 0.5, "ann", "ann", "pen", None, None),
        ]
    ]


def test_what_was_logged_after_an_event_does_not_explain_it(tmp_path: Path) -> None:
    spec = dataset(COUNTED, clicks="impression_id", follows="click_id")
    log = [
        shown(5 * HOUR, "early", "s", 2.0),
        shown(9 * HOUR, "late", "t", 3.0, user="bob"),
        event("click", 8 * HOUR, "late", id="a"),
        event("click", 8 * HOUR, "early", id="b"),
        event("conversion", 7 * HOUR, "b", item="ink"),
    ]
    assert happened(spec, log, tmp_path, days=1) == [
        [
            ("click", 8.0, None, None, None, None, None),
            ("click", 8.0, "ann", "ann", "pen", "s", 2.0),
            ("conversion", 7.0, None, None, "ink", None, None),
        ]
    ]


def test_an_orphan_has_the_user_and_item_that_it_names_itself(tmp_path: Path) -> None:
    spec = dataset(COUNTED, clicks="impression_id", follows="click_id")
    log = [
        event("click", HOUR, "gone", user="bob", item="ink", id="c"),
        event("conversion", 2 * HOUR, "c"),
        event("conversion", 2 * HOUR, "unheard of"),
    ]
    assert happened(spec, log, tmp_path, days=1) == [
        [
            ("click", 1.0, "bob", "bob", "ink", None, None),
            ("conversion", 2.0, "bob", "bob", "ink", None, None),
            ("conversion", 2.0, None, None, None, None, None),
        ]
    ]


def hours_of(events: list[tuple[Any, ...]], stage: str) -> list[float]:
    return [row[1] for row in events if row[0] == stage]


def test_a_repeated_delivery_happened_once_and_at_its_first_time(tmp_path: Path) -> None:
    spec = dataset(COUNTED, clicks="impression_id", follows="click_id")
    log = [
        event("click", 5 * HOUR, "i", id="c"),
        event("click", 4 * HOUR, "i", id="c"),
        *[event("click", 6 * HOUR, "i")] * 2,
        *[event("cart", 6 * HOUR, "c")] * 2,
        event("cart", 7 * HOUR, "c"),
        *[event("conversion", 6 * HOUR, "c")] * 2,
        event("conversion", 9 * HOUR, "c", order="o"),
        event("conversion", 8 * HOUR, "c", order="o"),
        event("conversion", 8 * HOUR, "d", order="o"),
        event("conversion", 30 * HOUR, "c", order="o"),
        event("conversion", 30 * HOUR, "c", order="new"),
    ]
    first, second = happened(spec, log, tmp_path)
    assert hours_of(first, "click") == [4.0, 6.0]
    assert hours_of(first, "cart") == [6.0, 7.0]
    assert hours_of(first, "conversion") == [6.0, 8.0, 8.0]
    assert second == [("conversion", 30.0, None, None, None, None, None)]


def test_a_copy_with_a_later_time_takes_nothing_away_though_it_came_a_day_before(tmp_path: Path) -> None:
    spec = dataset(COUNTED, clicks="impression_id", follows="click_id")
    log = [event("conversion", 40 * HOUR, "c", order="o", day=0), event("conversion", 30 * HOUR, "c", order="o")]
    assert hours_of(happened(spec, log, tmp_path)[1], "conversion") == [30.0]


def test_implied_clicks_and_counted_impressions_are_the_impressions(tmp_path: Path) -> None:
    spec = dataset(
        [aggregate("click", per="impression"), aggregate("conversion")], clicks="implied", follows="click_id"
    )
    log = [
        shown(3 * HOUR, "i", "later", 2.0),
        shown(2 * HOUR, "i", "s", 2.0),
        shown(None, "j", "s", 2.0),
        event("conversion", 4 * HOUR, "i"),
    ]
    of = ("ann", "ann", "pen")
    assert happened(spec, log, tmp_path, days=1) == [
        [("impression", 2.0, *of, "s"), ("click", 2.0, *of, "s"), ("conversion", 4.0, *of, "later")]
    ]


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    spec = dataset([*COUNTED, aggregate("impression")], clicks="impression_id", follows="click_id")
    log = [shown(n % DAY, f"i{n % 500}", f"s{n % 7}", n / 3) for n in range(5000)]
    log += [event("click", n % DAY, f"i{n}", id=f"c{n}", day=0) for n in range(1000)]
    log += [event("conversion", n % DAY, f"c{n}", day=0) for n in range(1000)]
    first, second = (make_behaviour(spec, log, days=1, folder=tmp_path / name)[0] for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert len(read(first)) > 2000


def test_impressions_landed_without_a_needed_field_are_refused(tmp_path: Path) -> None:
    spec = dataset(
        [{"name": "brand", "entity": "item"}, aggregate("impression", by=["brand"])],
        clicks="implied",
        follows="click_id",
    )
    impressions = land(spec, [shown(HOUR, "i", "s", 2.0)], "impression", 0, tmp_path)
    with pytest.raises(FieldsNotLanded, match=r"has no column brand.*materialize raw_events of the day again"):
        write_behaviour_events(
            spec=spec, tables={"impression": [impressions]}, scratch=tmp_path, out=tmp_path / "out.parquet"
        )


def test_only_what_derived_fields_look_at_is_read_and_kept() -> None:
    clicks = dataset([aggregate("click")], clicks="impression_id", follows="click_id")
    assert (behaviour_stages(clicks), landed_stages(clicks)) == (("click",), ("impression", "click"))
    assert behaviour_columns(clicks) == ("user", "item", "shop")
    assert behaviour_lookback(clicks) == touch_lookback(clicks)
    bought = dataset([aggregate("conversion", mean_of="price")], clicks="impression_id", follows="click_id")
    assert landed_stages(bought) == ("impression", "click", "conversion")
    assert behaviour_columns(bought) == ("user", "item", "shop", "price")
    assert behaviour_lookback(bought) == credit_lookback(bought)
    by_id = dataset([aggregate("conversion")], clicks="impression_id", follows="impression_id")
    assert landed_stages(by_id) == ("impression", "conversion")
    assert landed_stages(dataset([aggregate("click")], clicks="implied", follows="click_id")) == ("impression",)


def test_the_reach_is_whole_days_in_the_log_and_one_more_after_a_short_day() -> None:
    clicked = {"name": "clicked", "entity": "user", "kind": "sequence", "of": "item", "behaviour": "click"}
    fields = [clicked | {"behaviour_days": 2}, aggregate("click") | {"name": "week"}]
    spec = dataset(fields, clicks="impression_id", follows="click_id")
    assert behaviour_reach(spec, FIRST + timedelta(days=1)) == [FIRST, FIRST + timedelta(days=1)]
    assert behaviour_reach(spec, FIRST + timedelta(days=9))[0] == FIRST + timedelta(days=7)
    berlin = dataset(fields, clicks="impression_id", follows="click_id", timezone="Europe/Berlin")
    # 2026-03-29 has 23 hours: two times 86,400 seconds before the 30th begins lies on the 27th.
    assert behaviour_reach(berlin, date(2026, 3, 30))[0] == date(2026, 3, 27)
    assert behaviour_reach(berlin, date(2026, 10, 26))[0] == date(2026, 10, 24)


def test_the_synthetic_logs_clicks_name_impressions_and_its_conversions_clicks(tmp_path: Path) -> None:
    content = dataset([aggregate("conversion")], clicks="impression_id", follows="click_id").model_dump(mode="json")
    spec = DatasetSpec.model_validate(content | {"source": {"kind": "synthetic"}})
    assert landed_stages(spec) == ("impression", "click", "conversion")
    log = [shown(HOUR, "i", "s", 2.0), event("click", 2 * HOUR, "i", id="c"), event("conversion", 3 * HOUR, "c")]
    assert happened(spec, log, tmp_path, days=1) == [[("conversion", 3.0, "ann", "ann", "pen", "s")]]
