"""The rules' thresholds: their bounds, what they must agree on, and what a field may be held to on its own."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from ml.data import validation_spec
from ml.data.dataset import DatasetSpec, ValidationSpec
from ml.data.validation_spec import FieldThresholds


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_text_length": 0},
        {"max_null_share": 1.1},
        {"null_share_rise": 0},
        {"one_sided_user_impressions": 1},
        {"season_history_days": 6},
        {"season_min_weekdays": 1},
        {"volume_weekly_swing": 0},
        {"unusual_z": 0},
        {"bot_quantile": 1},
        {"bot_min_impressions": 0},
        {"freshness_hours": 25},
        {"drift_min_history": 1},
        {"max_field_auc": 0.5},
        {"leak_min_events": 0},
    ],
)
def test_values_out_of_bounds_are_refused_by_name(wrong: dict[str, object]) -> None:
    [name] = wrong
    with pytest.raises(ValidationError, match=name):
        ValidationSpec.model_validate(wrong)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"unusual_z": 9}, "unusual_z 9 is above extreme_fall_z 8"),
        ({"extreme_rise_z": 3}, "unusual_z 4 is above extreme_rise_z 3"),
        ({"psi_warn": 1.5}, "psi_warn 1.5 is above psi_refuse 1"),
        ({"new_share_warn": 0.8}, "new_share_warn 0.8 is above new_share_refuse 0.75"),
        ({"drift_history_days": 2}, "drift_min_history 3 is above drift_history_days 2"),
        ({"label_name": "("}, "'\\(' is no regular expression"),
        ({"fields": {"price": {"min": 2, "max": 1}}}, "max 1 is below min 2"),
        ({"fields": {"price": {"min": float("inf")}}}, "finite number"),
    ],
)
def test_what_contradicts_itself_is_refused_with_both_numbers(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ValidationSpec.model_validate(wrong)


def _spec(**validation: object) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "shop",
            "days": {"first": "2026-03-01"},
            "source": {"kind": "synthetic"},
            "fields": [
                {"name": "user", "entity": "user", "kind": "id"},
                {"name": "item", "entity": "item", "kind": "id"},
                {"name": "price", "entity": "item", "kind": "number"},
            ],
            "user_key": "user",
            "item_key": "item",
            "validation": validation,
        }
    )


def test_a_field_may_be_held_to_bounds_of_its_own() -> None:
    spec = _spec(fields={"price": {"min": 0, "max": 100_000, "max_null_share": 0.2}})
    assert spec.validation.of_field("price") == FieldThresholds(min=0, max=100_000, max_null_share=0.2)
    assert spec.validation.of_field("user") == FieldThresholds()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"prize": {"min": 0}}, "validation.fields names 'prize', which is no field; there are user, item, price"),
        ({"item": {"max": 3}}, "validation.fields gives 'item' a range, but its kind is 'id'; only a number has one"),
    ],
)
def test_bounds_of_no_field_or_of_no_number_are_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        _spec(fields=fields)


def test_the_longest_look_back_is_that_of_the_rules() -> None:
    assert ValidationSpec().history_days == 35
    assert ValidationSpec(volume_history_days=60).history_days == 60
    assert ValidationSpec(season_history_days=7, volume_history_days=7, drift_history_days=20).history_days == 20


def test_every_default_says_why() -> None:
    lines = Path(validation_spec.__file__).read_text(encoding="utf-8").splitlines()
    body = lines[lines.index("class ValidationSpec(BaseModel):") :]
    unexplained = [
        name
        for name in ValidationSpec.model_fields
        for place, line in enumerate(body)
        if line.startswith(f"    {name}:") and not body[place - 1].strip().startswith("#:")
    ]
    # Overrides are empty, no skew and no empty day are tolerated unless someone says so, and the name has its reason
    # where it is written.
    assert set(unexplained) <= {"fields", "clock_skew_seconds", "allow_empty_days", "label_name"}
