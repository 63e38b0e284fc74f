"""The thresholds: their bounds and what follows from them."""

import pytest
from pydantic import BaseModel, ValidationError

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
