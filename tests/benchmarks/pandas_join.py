"""A day's attribution and join once more, in plain pandas: for logs whose clicks name impressions, conversions clicks.

What the SQL join does beyond that (other references, optional stages, derived fields) is not repeated here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from ml.data.dataset import DatasetSpec

_MICROSECONDS = "int64[pyarrow]"
_FIRST_COPY = ["impression_id", "impression_time"]


def joined_samples(
    *,
    spec: DatasetSpec,
    impressions: Sequence[Path],
    clicks: Path,
    touches_before: Sequence[Path],
    conversions: Path,
    conversions_before: Sequence[Path],
    horizon: datetime,
) -> pd.DataFrame:
    """The samples of one day (pyarrow dtypes), from landed tables: those of `impressions` end with the day's own.

    `touches_before` and `conversions_before` are of the days before it.
    """
    days = [_read(path) for path in impressions]
    touches = _touches(_read(clicks), pd.concat(days, ignore_index=True), spec)
    before = [_read(path) for path in touches_before]
    earlier = [_read(path) for path in conversions_before]
    credits = _credits(_read(conversions), pd.concat([touches, *before], ignore_index=True), earlier, spec)
    shown = _with_copies(days[-1], spec)
    samples = _labelled(shown, touches, credits, spec)
    orphans = [
        _orphans(touches, "click", missing=touches["shown_impression"].isna() | touches["click_time"].isna()),
        _orphans(credits, "conversion", missing=credits["shown_impression"].isna() | credits["conversion_time"].isna()),
    ]
    rows = pd.concat([samples, *(rows for rows in orphans if len(rows))], ignore_index=True)
    return _with_ages(rows, spec, horizon)


def _read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path, dtype_backend="pyarrow")


def _time(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[name].astype(_MICROSECONDS)


def _late(event: pd.Series, start: pd.Series, seconds: int) -> pd.Series:
    return (event - start >= seconds * 1_000_000).fillna(False)


def _touches(clicks: pd.DataFrame, impressions: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
    """Every click with the first impression of the id that it names."""
    keys = ["impression_id", "impression_time", "user_key", "item_key"]
    named = impressions.loc[impressions["impression_time"].notna(), keys]
    named = named[named["impression_id"].isin(clicks["impression_id"])]
    first = named.sort_values(["impression_time", "user_key", "item_key"], kind="stable").drop_duplicates(
        "impression_id"
    )
    first = first.assign(shown_impression=first["impression_id"])
    touches = clicks.merge(first, on="impression_id", how="left", suffixes=("", "_shown"))
    for key in ("user_key", "item_key"):
        touches[key] = touches[key].fillna(touches.pop(f"{key}_shown"))
    touches = touches.rename(columns={"impression_time": "shown_time", "impression_id": "named_impression"})
    window = spec.attribution.click_window_seconds
    return touches.assign(late=_late(_time(touches, "click_time"), _time(touches, "shown_time"), window))


def _credits(
    conversions: pd.DataFrame, touches: pd.DataFrame, earlier: Sequence[pd.DataFrame], spec: DatasetSpec
) -> pd.DataFrame:
    """Every conversion with the click that it names; a repeated delivery of an order has none."""
    order = ["click_time", "source_file", "source_row"]
    whole = touches[touches[["click_time", "shown_time", "shown_impression", "click_id"]].notna().all(axis=1)]
    first = whole[whole["click_id"].isin(conversions["click_id"])].sort_values(order, kind="stable")
    first = first.drop_duplicates("click_id")
    first = first[["click_id", "shown_impression", "shown_time", "click_time", "late", "user_key", "item_key"]]
    credits = conversions.assign(duplicate_rank=_deliveries(conversions, earlier))
    credits = credits.merge(first, on="click_id", how="left", suffixes=("", "_touch"))
    uncredited = credits["duplicate_rank"] > 1
    for column in ("shown_impression", "shown_time", "click_time", "late", "user_key_touch", "item_key_touch"):
        credits[column] = credits[column].mask(uncredited)
    for key in ("user_key", "item_key"):
        credits[key] = credits[key].fillna(credits.pop(f"{key}_touch"))
    late = _late(
        _time(credits, "conversion_time"), _time(credits, "click_time"), spec.attribution.conversion_window_seconds
    )
    return credits.assign(late=late | credits["late"].fillna(False).astype(bool))


def _deliveries(conversions: pd.DataFrame, earlier: Sequence[pd.DataFrame]) -> pd.Series:
    """Of each conversion its place among the deliveries of the same order; 1 where nothing tells orders apart."""
    every = pd.concat([conversions, *earlier], ignore_index=True)
    every["own"] = every.index < len(conversions)
    named = every[every["conversion_time"].notna() & every["click_id"].notna()]
    unnamed_order = named["order_id"].isna()
    same = named[["order_id", "click_id", "impression_id", "user_key", "item_key"]].assign(
        copy_time=named["conversion_time"].where(unnamed_order), copy_value=named["value"].where(unnamed_order)
    )
    in_order = named.sort_values(["own", "conversion_time", "source_row"], kind="stable").index
    keys = [same[column].loc[in_order] for column in same]
    ranks = pd.Series(1, index=in_order).groupby(keys, dropna=False).cumcount() + 1
    return ranks.reindex(range(len(conversions))).fillna(1).astype(_MICROSECONDS)


def _with_copies(shown: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
    """The impressions with their place among the rows of one id, and whether they differ from the first of them."""
    known = shown["impression_id"].notna()
    repeated = shown[shown["impression_id"].duplicated(keep=False) & known].sort_values("source_row")
    content = ["impression_time", "user_key", "item_key", *(field.name for field in spec.logged_fields)]
    first = repeated.drop_duplicates("impression_id").set_index("impression_id")[content]
    first = first.loc[repeated["impression_id"]].set_axis(repeated.index)
    same = (repeated[content] == first).fillna(False) | (repeated[content].isna() & first.isna())
    rank = pd.Series(1, index=shown.index, dtype=_MICROSECONDS)
    rank.loc[repeated.index] = (repeated.groupby("impression_id").cumcount() + 1).astype(_MICROSECONDS)
    conflict = pd.Series(False, index=shown.index)
    conflict.loc[repeated.index] = ~same.all(axis=1).astype(bool)
    return shown.assign(duplicate_rank=rank, duplicate_conflict=conflict)


def _labelled(shown: pd.DataFrame, touches: pd.DataFrame, credits: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
    first = shown.loc[shown["duplicate_rank"] == 1, [*_FIRST_COPY, "source_row"]].dropna()
    clicked = _counting(touches, "click_time", shown).groupby(_FIRST_COPY)["click_time"].min().reset_index()
    converted = _counting(credits, "conversion_time", shown)
    converted = converted.sort_values(["conversion_time", "value", "order_id"], kind="stable").groupby(_FIRST_COPY)
    values = converted["value"].sum(min_count=1)
    converted = converted.agg(
        conversion_time=("conversion_time", "first"),
        converted_click_time=("click_time", "first"),
        order_id=("order_id", "first"),
    )
    converted = converted.assign(value=values).reset_index()
    labels = first.merge(clicked, on=_FIRST_COPY, how="left").merge(converted, on=_FIRST_COPY, how="left")
    samples = shown.merge(labels.drop(columns=_FIRST_COPY), on="source_row", how="left")
    click, conversion = (samples[name].notna().astype(_MICROSECONDS) for name in ("click_time", "conversion_time"))
    click_time = samples.pop("converted_click_time").fillna(samples["click_time"])
    return samples.assign(row_kind="impression", click=click, conversion=conversion, click_time=click_time)


def _counting(events: pd.DataFrame, time: str, shown: pd.DataFrame) -> pd.DataFrame:
    """The events in time that are credited to impressions of the day; those of a repeated id go to its first row."""
    kept = events[events["shown_impression"].notna() & events[time].notna() & ~events["late"].astype(bool)]
    credited = kept.assign(impression_id=kept["shown_impression"], impression_time=kept["shown_time"])
    again = shown[shown["impression_id"].isin(shown.loc[shown["duplicate_rank"] > 1, "impression_id"])]
    if len(again):
        moved = again[_FIRST_COPY].assign(
            first_time=again.groupby("impression_id")["impression_time"].transform("first")
        )
        credited = credited.merge(moved.drop_duplicates(), on=_FIRST_COPY, how="left")
        credited["impression_time"] = credited.pop("first_time").fillna(credited["impression_time"])
    return credited


def _orphans(events: pd.DataFrame, kind: str, *, missing: pd.Series) -> pd.DataFrame:
    rows = events[missing]
    if kind == "click":
        rows = rows.assign(impression_id=rows["named_impression"])
    else:
        rank = rows["duplicate_rank"]
        rows = rows.assign(duplicate_rank=rank.where(rank > 1))
    kept = ["impression_id", "user_key", "item_key", f"{kind}_time", "source_file", "source_row", "source_line"]
    kept += ["unparsed_columns", *(("value", "order_id", "duplicate_rank") if kind == "conversion" else ())]
    return rows[kept].assign(row_kind=kind, duplicate_conflict=False, **{kind: 1})


def _with_ages(rows: pd.DataFrame, spec: DatasetSpec, horizon: datetime) -> pd.DataFrame:
    shown = _time(rows, "impression_time")
    seconds = shown // 1_000_000
    age = int(horizon.astimezone(UTC).timestamp()) - (seconds + (shown > seconds * 1_000_000).astype(_MICROSECONDS))
    unparsed = np.fromiter((len(texts) for texts in rows["unparsed_columns"]), np.int64, count=len(rows))
    absent = {name: pd.Series(pd.NA, rows.index, dtype=_MICROSECONDS) for name in ("cart", "favourite")}
    times = {f"{name}_time": pd.Series(pd.NaT, rows.index, dtype="timestamp[us][pyarrow]") for name in absent}
    return rows.assign(
        label_age_seconds=age,
        mature=(age >= spec.label_window_seconds).fillna(False),
        unparsed_count=pd.Series(unparsed, rows.index, dtype=_MICROSECONDS),
        **absent,
        **times,
    )
