"""Features that know the label: AUC against a plain reference, what looks like a leak and is none, and names."""

import random
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_checks.day_sample import DaySample
from data_checks.leaks import encoded_auc, field_auc, label_names
from ml.data.dataset import DatasetSpec


def _plain_auc(values: list[Any], positive: list[bool], first: list[bool]) -> float:
    fitted = defaultdict(list)
    for value, label, fit in zip(values, positive, first, strict=True):
        if fit:
            fitted[value].append(label)
    everything = [label for labels in fitted.values() for label in labels]
    overall = sum(everything) / len(everything)
    scores = {value: (sum(labels) + overall) / (len(labels) + 1) for value, labels in fitted.items()}
    scored = [
        (scores.get(value, overall), label)
        for value, label, fit in zip(values, positive, first, strict=True)
        if not fit
    ]
    wins = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, label in scored
        if label
        for low, other in scored
        if not other
    ]
    return sum(wins) / len(wins)


@given(rows=st.lists(st.tuples(st.integers(-1, 5), st.booleans(), st.booleans()), min_size=4, max_size=60))
def test_the_auc_of_an_encoding_is_that_of_pairs_counted_one_by_one(rows: list[tuple[int, bool, bool]]) -> None:
    rows += [(0, True, True), (1, False, True), (2, True, False), (3, False, False)]
    values, positive, first = (list(column) for column in zip(*rows, strict=True))
    found = encoded_auc(np.array(values), np.array(positive), np.array(first))
    assert found == pytest.approx(_plain_auc(values, positive, first))


def _clicks(rows: int, *, share: float = 0.1, seed: int = 1) -> list[int]:
    chance = random.Random(seed)
    return [int(chance.random() < share) for _ in range(rows)]


@pytest.mark.parametrize(
    ("field", "leak"),
    [
        ("position", lambda click, n: f"yes{n % 3}" if click else f"no{n % 5}"),
        ("price", lambda click, n: 1.0 + n % 7 if click else None),
        ("price", lambda click, n: 1.77e9 + n % 100 + (200 if click else 0)),
        ("recent_items", lambda click, n: ["a", "clicked" if click else f"i{n % 9}"]),
    ],
    ids=["category", "missing number", "late time", "newest of a sequence"],
)
def test_a_field_written_after_the_label_is_found_and_named(build: SimpleNamespace, field: str, leak: Any) -> None:
    clicks = _clicks(4000)
    honest = [f"u{n % 50}" for n in range(4000)]
    leaking = {field: [leak(click, n) for n, click in enumerate(clicks)]}
    sample = build.sample(build.spec(), click=clicks, user=honest, **leaking)
    found = field_auc(spec=build.spec(), sample=sample)
    assert found.value is not None
    assert found.value > 0.995
    assert found.evidence[0] == {"field": field, "label": "click", "auc": f"{found.value:.4f}"}
    assert len(found.evidence) == 1
    known = build.spec(validation={"fields": {field: {"resembles_label": True}}})
    judged = field_auc(spec=known, sample=sample).value
    assert judged is not None
    assert judged < 0.6


def test_an_id_of_the_row_and_a_strong_feature_are_no_leaks(build: SimpleNamespace) -> None:
    chance = random.Random(7)
    clicks = _clicks(6000)
    columns = {
        "click": clicks,
        # Every value occurs once: fitted and scored on the same rows, it would separate the label perfectly.
        "item": [f"i{n}" for n in range(6000)],
        "position": [("a" if chance.random() < 0.9 else "b") if click else "b" for click in clicks],
    }
    found = field_auc(spec=build.spec(), sample=build.sample(build.spec(), **columns))
    assert found.value is not None
    assert 0.9 < found.value < 0.97
    assert found.evidence[0]["field"] == "position"


def test_without_enough_rows_of_both_kinds_nothing_is_judged(build: SimpleNamespace) -> None:
    spec = build.spec()
    few = field_auc(spec=spec, sample=build.sample(spec, click=[1] * 40 + [0] * 4000))
    assert few.value is None
    assert "50 are needed (validation.leak_min_events)" in few.why
    implied = field_auc(spec=spec, sample=build.sample(spec, click=[1] * 4000))
    assert implied.value is None
    assert field_auc(spec=spec, sample=DaySample(spec=spec, impressions=0, clicks=0, conversions=0)).value is None


def _spec_with(build: SimpleNamespace, *fields: dict[str, Any], **changes: Any) -> DatasetSpec:
    spec = build.spec(**changes).model_dump()
    spec["fields"] = [*spec["fields"], *fields]
    return DatasetSpec.model_validate(spec)


@pytest.mark.parametrize(
    "column",
    [
        "clicked",
        "is_click",
        "Conversion",
        "has_converted",
        "purchase_flag",
        "booking_bool",
        "ORDER_ID",
        "label",
        "y",
        "label_2",
        "conv_time",
        "bought",
        "target",
        "clk",
    ],
)
def test_a_field_or_column_called_like_a_label_is_named(build: SimpleNamespace, column: str) -> None:
    found = label_names(_spec_with(build, {"name": "signal", "column": column, "entity": "context"}))
    assert (found.value, found.bound) == (1.0, 0.0)
    assert found.evidence == ({"field": "signal", "column": column},)
    if column == column.lower():
        assert label_names(_spec_with(build, {"name": column, "column": "x", "entity": "context"})).value == 1


@pytest.mark.parametrize(
    "name",
    [
        "clicks_7d",
        "click_rate",
        "ctr",
        "cvr",
        "purchase_count",
        "booking_window",
        "clicked_items",
        "order_sort",
        "orders",
        "targeting",
        "labels_seen",
        "year",
        "payment",
        "bought_before",
    ],
)
def test_names_of_what_was_known_before_are_no_labels(build: SimpleNamespace, name: str) -> None:
    assert label_names(_spec_with(build, {"name": name, "entity": "context"})).value == 0


def test_a_column_that_holds_the_log_s_own_label_is_one_whatever_it_is_called(build: SimpleNamespace) -> None:
    field = {"name": "signal", "column": "converted", "entity": "context"}
    assert label_names(_spec_with(build, field, conversion_window_days=0)).evidence[0]["field"] == "signal"
    table = {"path": "t.csv", "format": "csv", "time": "t", "impression_id": "i", "click": "c", "conversion": "o"}
    wide = {"kind": "wide_log", "table": table | {"value": "euros", "order_id": ("basket", "line")}}
    for column in ("c", "o", "euros", "line"):
        spec = _spec_with(
            build,
            {"name": "signal", "column": column, "entity": "context", "kind": "category"},
            source=wide,
            conversion_window_days=0,
        )
        assert label_names(spec).value == 1


def test_a_label_of_that_name_that_someone_vouches_for_is_let_pass(build: SimpleNamespace) -> None:
    field = {"name": "label", "entity": "item"}
    vouched = {"fields": {"label": {"resembles_label": True}}}
    spec = _spec_with(build, field).model_dump() | {"validation": vouched}
    assert label_names(DatasetSpec.model_validate(spec)).value == 0
