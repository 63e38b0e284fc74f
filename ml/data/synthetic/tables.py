"""The raw streams as Arrow tables: column names, types and ids; where the tables are kept is the feed's business."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.data.synthetic.behaviour import PAGES
from ml.data.synthetic.events import DAY_MICROSECONDS, Events, to_microseconds
from ml.data.synthetic.world import DEVICES, GENDERS, IntArray, World

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
UNREADABLE: Final = ("n/a", "12,50 EUR", "?", "1.2.3")
TIME: Final = pa.timestamp("us")  # without a zone, in UTC: readers of Parquet differ in what they do to zoned times

CLICKS: Final = pa.schema([("click_id", pa.string()), ("impression_id", pa.string()), ("click_time", TIME)])
CONVERSIONS: Final = pa.schema(
    [
        ("click_id", pa.string()),
        ("conversion_time", TIME),
        ("value", pa.float64()),
        ("order_id", pa.string()),
    ]
)
TRUTH: Final = pa.schema([("impression_id", pa.string()), ("p_click", pa.float64()), ("p_conversion", pa.float64())])


def impression_table(world: World, day: date, events: Events) -> pa.Table:
    """The impressions with the fields of user, item and context: what a model may see."""
    seen, users, items = events.impressions, world.users, world.items
    user, item = seen.user, seen.item
    microsecond = to_microseconds(seen.second)
    return pa.table(
        {
            "impression_id": _event_ids("", day, events.number),
            "user_id": _labels("u", user, 8),
            "item_id": _labels("i", item, 8),
            "impression_time": _times(day, microsecond),
            "position": pa.array(seen.position, pa.int32()),
            "page": _named(PAGES, seen.page),
            "hour": pa.array(microsecond // 3_600_000_000, pa.int32()),
            "weekday": _named(WEEKDAYS, np.full(len(user), day.weekday())),
            "age": pa.array(users.age[user], pa.int32()),
            "gender": _named(GENDERS, users.gender[user]),
            "city": _labels("city-", users.city[user], 2),
            "device": _named(DEVICES, users.device[user]),
            "category": _labels("category-", items.category[item], 3),
            "shop": _labels("shop-", items.shop[item], 4),
            "brand": _labels("brand-", items.brand[item], 4),
            "price": _prices(events, items.price[item]),
        }
    )


def click_table(day: date, events: Events, chosen: IntArray) -> pa.Table:
    """The clicks at the places `chosen`."""
    clicks = events.clicks
    return pa.table(
        [
            _event_ids("c", day, clicks.number[chosen]),
            _event_ids("", day, clicks.impression[chosen]),
            _times(day, clicks.microsecond[chosen]),
        ],
        schema=CLICKS,
    )


def conversion_table(day: date, events: Events, chosen: IntArray) -> pa.Table:
    """The conversions at the places `chosen`."""
    conversions = events.conversions
    return pa.table(
        [
            _event_ids("c", day, conversions.click[chosen]),
            _times(day, conversions.microsecond[chosen]),
            pa.array(conversions.value[chosen]),
            _event_ids("o", day, conversions.click[chosen]),
        ],
        schema=CONVERSIONS,
    )


def truth_table(day: date, events: Events) -> pa.Table:
    """The true probabilities of the events before faults: p_conversion is given a click."""
    ids = _event_ids("", day, events.number)
    return pa.table([ids, pa.array(events.p_click), pa.array(events.p_conversion)], schema=TRUTH)


def _event_ids(prefix: str, day: date, number: IntArray) -> pa.Array:
    """Ids such as c20260105-000000000042."""
    return _numbered(f"{prefix}{day:%Y%m%d}-", pa.array(number), 12)


def _labels(prefix: str, number: IntArray, digits: int) -> pa.DictionaryArray:
    """Names such as city-07, each made once per chunk."""
    encoded = pa.array(number).dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices, _numbered(prefix, encoded.dictionary, digits))


def _numbered(prefix: str, number: pa.Array, digits: int) -> pa.Array:
    # pyarrow makes these functions at import, where type checkers do not see them.
    padded = pc.utf8_lpad(number.cast(pa.string()), digits, "0")  # pyright: ignore[reportAttributeAccessIssue]
    return pc.binary_join_element_wise(prefix, padded, "")  # pyright: ignore[reportAttributeAccessIssue]


def _named(names: tuple[str, ...], index: IntArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array(names))


def _times(day: date, microsecond: IntArray) -> pa.Array:
    midnight = (day - date(1970, 1, 1)).days * DAY_MICROSECONDS
    return pa.array(midnight + microsecond, pa.int64()).cast(TIME)


def _prices(events: Events, price: np.ndarray) -> pa.Array:
    """Numbers, or on a day of broken types text of which some is no number."""
    if events.unreadable_price is None:
        return pa.array(price)
    spoilt = pa.array(UNREADABLE).take(pa.array(events.number % len(UNREADABLE)))
    readable = pa.array(price).cast(pa.string())
    return pc.if_else(pa.array(events.unreadable_price), spoilt, readable)  # pyright: ignore[reportAttributeAccessIssue]
