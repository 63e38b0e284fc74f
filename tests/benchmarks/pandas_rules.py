"""Every rule on rows once more, in plain pandas over one frame in memory: to hold the SQL masks and their cost against.

No code is shared with the rules: what is the same here by mistake is not the same mistake.
"""

import math
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.data.dataset import DatasetSpec

_TIMES = ("impression_time", "click_time", "cart_time", "favourite_time", "conversion_time")
_INFINITY = np.iinfo(np.int64).max
_STAGES = {"cart": "stage_window_seconds", "favourite": "stage_window_seconds"}


def rule_masks(samples: pd.DataFrame, *, spec: DatasetSpec, day: date) -> dict[str, np.ndarray]:
    """One boolean array a rule on rows, TRUE for its bad rows; `samples` is a joined table with pyarrow dtypes."""
    shown = _true(samples["row_kind"] == "impression")
    return {
        **_keys_and_kinds(samples, shown, spec),
        **_times(samples, shown, spec, day),
        **_values(samples, shown, spec),
        **_labels(samples, shown),
        **_order(samples, shown, spec),
        **_orphans(samples),
        **_duplicates(samples, shown),
        **_users_and_orders(samples, shown, spec),
    }


def _true(mask: pd.Series) -> np.ndarray:
    """A mask of true, false and NA as true or not."""
    return mask.fillna(False).to_numpy(dtype=bool)


def _keys_and_kinds(samples: pd.DataFrame, shown: np.ndarray, spec: DatasetSpec) -> dict[str, np.ndarray]:
    keys = ("impression_id", "user_key", "item_key")
    return {
        "schema.row_kind_unknown": ~_true(samples["row_kind"].isin(spec.stages)),
        **{f"schema.{key}_missing": shown & ~_true(samples[key].str.strip(" ") != "") for key in keys},
    }


def _times(samples: pd.DataFrame, shown: np.ndarray, spec: DatasetSpec, day: date) -> dict[str, np.ndarray]:
    zone = ZoneInfo(spec.timezone)
    start, end = (
        int(datetime.combine(d, time(), zone).astimezone(UTC).timestamp()) * 1_000_000
        for d in (day, day + timedelta(days=1))
    )
    times = {name: samples[name].astype("int64[pyarrow]") for name in _TIMES}
    infinite = np.zeros(len(samples), dtype=bool)
    for column in times.values():
        infinite |= _true(column.isin([_INFINITY, -_INFINITY]))
    impressed = _finite(times["impression_time"])
    return {
        "schema.impression_time_missing": shown & times["impression_time"].isna().to_numpy(),
        "schema.impression_time_outside_day": shown & _true((impressed < start) | (impressed >= end)),
        "schema.time_not_finite": infinite,
    }


def _finite(time: pd.Series) -> pd.Series:
    """Microseconds; an infinite time is no number of them."""
    return time.mask(time.isin([_INFINITY, -_INFINITY]).fillna(False).astype(bool))


def _values(samples: pd.DataFrame, shown: np.ndarray, spec: DatasetSpec) -> dict[str, np.ndarray]:
    value = samples["value"]
    not_finite, outside, malformed, weights = (np.zeros(len(samples), dtype=bool) for _ in range(4))
    for field in spec.fields:
        column = samples[field.name]
        if field.kind == "number":
            not_finite |= _infinite(column)
            held_to = spec.validation.of_field(field.name)
            low = -math.inf if held_to.min is None else held_to.min
            high = math.inf if held_to.max is None else held_to.max
            outside |= _true((column < low) | (column > high)) & ~_infinite(column)
        elif field.kind in ("id", "category"):
            sizes = pc.binary_length(pa.array(column)).to_numpy(zero_copy_only=False)
            malformed |= np.nan_to_num(sizes) > spec.validation.max_text_length
            for sign in ("\n", "\r", "\0"):
                malformed |= _true(column.str.contains(sign, regex=False))
        if field.weighted:
            weights |= _weights_fault(column, samples[field.weights_column])
    return {
        "schema.value_unreadable": ~_true(samples["unparsed_count"] == 0),
        "schema.value_out_of_range": _infinite(value) | _true(value < 0),
        "schema.number_not_finite": shown & not_finite,
        "schema.number_out_of_range": shown & outside,
        "schema.text_malformed": shown & malformed,
        "schema.weights_mismatch": shown & weights,
    }


def _infinite(column: pd.Series) -> np.ndarray:
    """Where a number is there, but NaN or infinite."""
    return column.notna().to_numpy() & ~np.isfinite(column.to_numpy(dtype=np.float64, na_value=0.0))


def _weights_fault(values: pd.Series, weights: pd.Series) -> np.ndarray:
    pairs = zip(pa.array(values).to_pylist(), pa.array(weights).to_pylist(), strict=True)
    return np.array([_differ(one, other) for one, other in pairs], dtype=bool)


def _differ(values: list[str] | None, weights: list[float | None] | None) -> bool:
    if values is None or weights is None:
        return values is not weights or _any_bad(weights)
    return len(values) != len(weights) or _any_bad(weights)


def _any_bad(weights: list[float | None] | None) -> bool:
    return any(weight is None or not math.isfinite(weight) for weight in weights or ())


def _labels(samples: pd.DataFrame, shown: np.ndarray) -> dict[str, np.ndarray]:
    clicked, converted = (_true(samples[label] == 1) for label in ("click", "conversion"))
    labels = ("click", "conversion", "cart", "favourite")
    return {
        **{f"label_consistency.{label}_not_binary": shown & ~_true(samples[label].isin([0, 1])) for label in labels},
        **{
            f"label_consistency.{label}_without_click": shown & _true(samples[label] == 1) & ~clicked
            for label in ("conversion", "cart", "favourite")
        },
        "label_consistency.value_without_conversion": shown & _true(samples["value"] != 0) & ~converted,
    }


def _order(samples: pd.DataFrame, shown: np.ndarray, spec: DatasetSpec) -> dict[str, np.ndarray]:
    at = {name.removesuffix("_time"): _finite(samples[name].astype("int64[pyarrow]")) for name in _TIMES}
    touched = at["click"].where(samples["click_time"].notna(), at["impression"])
    skew = spec.validation.clock_skew_seconds * 1_000_000

    def before(end: str, start: pd.Series) -> np.ndarray:
        return shown & _true(at[end] < start - skew)

    def beyond(end: str, start: pd.Series, seconds: int) -> np.ndarray:
        return shown & _true(at[end] >= start + seconds * 1_000_000)

    attribution = spec.attribution
    found = {
        "click_before_impression": before("click", at["impression"]),
        "conversion_before_click": before("conversion", at["click"]),
        "conversion_before_impression": before("conversion", at["impression"]),
        "click_outside_window": beyond("click", at["impression"], attribution.click_window_seconds),
        "conversion_outside_window": beyond("conversion", touched, attribution.conversion_window_seconds),
    }
    for stage, window in _STAGES.items():
        found[f"{stage}_before_click"] = before(stage, touched)
        found[f"{stage}_outside_window"] = beyond(stage, touched, getattr(attribution, window))
    return {f"click_before_conversion.{rule}": mask for rule, mask in found.items()}


def _orphans(samples: pd.DataFrame) -> dict[str, np.ndarray]:
    repeated = _true(samples["row_kind"] == "conversion") & _true(samples["duplicate_rank"] >= 2)
    return {
        **{
            f"click_before_conversion.orphan_{kind}": _true(samples["row_kind"] == kind) & ~repeated
            for kind in ("click", "conversion", "cart", "favourite")
        },
        "duplicates.order_repeated": repeated,
    }


def _duplicates(samples: pd.DataFrame, shown: np.ndarray) -> dict[str, np.ndarray]:
    again, other = shown & _true(samples["duplicate_rank"] > 1), _true(samples["duplicate_conflict"])
    return {"duplicates.impression_repeated": again & ~other, "duplicates.impression_conflicting": again & other}


def _users_and_orders(samples: pd.DataFrame, shown: np.ndarray, spec: DatasetSpec) -> dict[str, np.ndarray]:
    first = shown & _true(samples["duplicate_rank"].fillna(1) == 1)
    flags = pd.DataFrame(
        {
            "user": samples["user_key"][first],
            "click": _true(samples["click"] == 1)[first],
            "conversion": _true(samples["conversion"] == 1)[first],
        }
    )
    users = flags.groupby("user").agg(shown=("click", "size"), click=("click", "sum"), conversion=("conversion", "sum"))
    policy, user_key = spec.validation, samples["user_key"]
    # The nearest rank: the least size that at least the share bot_quantile of the users does not exceed.
    sizes = np.sort(users["shown"].to_numpy())
    rank = math.ceil(policy.bot_quantile * len(sizes) - 1e-9)
    bound = max(policy.bot_min_impressions, sizes[rank - 1] if len(sizes) else 0)
    found = {"volume.bot_user": shown & _true(user_key.isin(users.index[users["shown"] > bound]))}
    for label, verb in (("click", "clicks"), ("conversion", "converts")):
        rare = flags[label].sum() < 0.5 * first.sum()
        often = users["shown"] >= policy.one_sided_user_impressions
        one_sided = users.index[often & (users[label] == users["shown"])]
        found[f"label_consistency.user_always_{verb}"] = (
            shown & _true(user_key.isin(one_sided)) if rare else np.zeros(len(samples), dtype=bool)
        )
    return found | _orders(samples, shown)


def _orders(samples: pd.DataFrame, shown: np.ndarray) -> dict[str, np.ndarray]:
    has_order = samples["order_id"].notna().to_numpy()
    owners = samples[shown & has_order].groupby("order_id")["user_key"].nunique()
    shared = owners.index[owners > 1]
    listed = (
        has_order & samples["value"].notna().to_numpy() & _true(samples["row_kind"].isin(["impression", "conversion"]))
    )
    lines = samples.loc[listed, ["order_id", "item_key", "value"]]
    lines = lines.assign(value=lines["value"].to_numpy(dtype=np.float64) + 0.0, place=np.flatnonzero(listed))
    line = ["order_id", "item_key"]
    several = lines.drop_duplicates([*line, "value"]).groupby(line).size().rename("values").reset_index()
    differ = np.zeros(len(samples), dtype=bool)
    differ[lines.merge(several[several["values"] > 1], on=line)["place"]] = True
    return {
        "label_consistency.order_of_several_users": shown & has_order & _true(samples["order_id"].isin(shared)),
        "label_consistency.order_values_differ": differ,
    }
