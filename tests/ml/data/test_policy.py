"""The thresholds: their bounds and what follows from them."""

from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import DatasetInvalid, load_dataset, parse_dataset
from ml.data.policy import AttributionSpec, GateSpec, TrainingDefaults, ValidationSpec, WindowPolicy


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        (AttributionSpec, {"click_window_seconds": -1}),
        (AttributionSpec, {"click_window_seconds": 7 * 86400 + 1}),
        (AttributionSpec, {"conversion_window_days": 91}),
        (ValidationSpec, {"max_bad_share": 1.01}),
        (ValidationSpec, {"volume_low_ratio": 1.0}),
        (ValidationSpec, {"volume_high_ratio": 1.0}),
        (ValidationSpec, {"clock_skew_seconds": 3601}),
        (WindowPolicy, {"window_days": 0}),
        (WindowPolicy, {"max_missing_days": -1}),
        (TrainingDefaults, {"learning_rate": 0}),
        (TrainingDefaults, {"validation_share": 1.0}),
        (TrainingDefaults, {"min_count": 0}),
        (GateSpec, {"confidence": 0.5}),
        (GateSpec, {"replicates": 199}),
        (GateSpec, {"pcoc_low": 0}),
        (GateSpec, {"pcoc_high": 0.9}),
        (GateSpec, {"pcoc_gross": 1}),
        (GateSpec, {"max_ece": 0}),
        (GateSpec, {"primary_metric": "accuracy"}),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(policy: type[BaseModel], wrong: dict[str, object]) -> None:
    [name] = wrong
    with pytest.raises(ValidationError, match=name):
        policy.model_validate(wrong)


@pytest.mark.parametrize("policy", [AttributionSpec, ValidationSpec, WindowPolicy, TrainingDefaults, GateSpec])
def test_an_unknown_setting_is_refused_and_a_policy_does_not_change(policy: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        policy.model_validate({"no_such_setting": 1})
    defaults = policy()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(defaults, next(iter(policy.model_fields)), 0)


def test_the_conversion_window_in_seconds() -> None:
    assert AttributionSpec(conversion_window_days=3).conversion_window_seconds == 259_200


def test_a_window_that_no_day_count_can_satisfy_is_refused() -> None:
    assert WindowPolicy(window_days=7, min_days=7).min_days == 7
    with pytest.raises(ValidationError, match="min_days 8 is above window_days 7; no window can pass"):
        WindowPolicy(window_days=7, min_days=8)


TABLE = {"path": "a/{day}.csv", "format": "csv", "time": "t", "impression_id": "i"}
FIELDS = [
    {"name": "user", "entity": "user", "kind": "id"},
    {"name": "item", "entity": "item", "kind": "id"},
    {"name": "city", "entity": "user"},
    {"name": "price", "entity": "item", "kind": "number"},
    {"name": "seen", "entity": "context", "kind": "sequence", "of": "item"},
]


def spec_with(gate: dict[str, Any], *, without: str = "") -> DatasetSpec:
    content = {
        "name": "shop",
        "days": {"first": "2026-01-05"},
        "source": {"kind": "wide_log", "table": TABLE | {"click": "c", "conversion": "b"}},
        "attribution": {"conversion_window_days": 0},
        "fields": [field for field in FIELDS if field["name"] != without],
        "user_key": "user",
        "item_key": "item",
        "gate": gate,
    }
    return parse_dataset(yaml.safe_dump(content), origin="shop.yaml", environment={})


def test_the_gates_fields_are_fields_of_the_log() -> None:
    gate = spec_with({"slice_fields": ["city", "price", "item"], "value_field": "price"}).gate
    assert (gate.slice_fields, gate.value_field) == (("city", "price", "item"), "price")
    assert spec_with({"slice_fields": []}).gate.slice_fields == ()
    assert spec_with({}).gate.value_field is None


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        (
            {"slice_fields": ["city", "town"]},
            r"gate\.slice_fields\[1\] names 'town', which is no field of one value a row; "
            "there are user, item, city, price",
        ),
        ({"slice_fields": ["seen"]}, r"gate\.slice_fields\[0\] names 'seen', which is no field of one value a row"),
        ({"value_field": "cost"}, r"gate\.value_field names 'cost', which is no number field; there are price"),
        ({"value_field": "city"}, r"gate\.value_field names 'city', which is no number field; there are price"),
    ],
)
def test_a_name_that_is_no_field_is_refused_when_the_spec_is_read(gate: dict[str, Any], why: str) -> None:
    with pytest.raises(DatasetInvalid, match=why):
        spec_with(gate)


def test_without_a_number_field_there_is_no_value_to_show_the_bias_by() -> None:
    with pytest.raises(DatasetInvalid, match="there are none: leave it out"):
        spec_with({"value_field": "city"}, without="price")


def test_the_demo_shows_the_bias_by_price() -> None:
    assert load_dataset("demo", environment={}).gate.value_field == "price"
