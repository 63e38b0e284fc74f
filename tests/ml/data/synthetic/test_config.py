"""The settings of the synthetic source refuse what cannot be, and name a feed."""

import subprocess
import sys
from datetime import date

import pytest
from pydantic import ValidationError

from ml.data.synthetic.config import Fault, FaultKind, SyntheticConfig


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"bait_share": 0.6, "daily_need_share": 0.6}, "add up to more than 1"),
        ({"users": 10, "user_clusters": 11}, "only 10 are there"),
        ({"items": 10, "item_clusters": 11}, "only 10 are there"),
        ({"conversion_delay_hours": 25, "max_delay_days": 1}, "raise max_delay_days"),
        ({"base_ctr": 0.0}, "base_ctr"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_refuses_settings_that_cannot_be(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        SyntheticConfig.model_validate(settings)


def test_refuses_one_fault_planted_twice_on_a_day() -> None:
    fault = {"day": "2026-01-07", "kind": "duplicates"}
    with pytest.raises(ValidationError, match="duplicates is planted more than once on 2026-01-07"):
        SyntheticConfig.model_validate({"faults": [fault | {"share": 0.1}, fault | {"share": 0.2}]})


def test_digest_follows_every_setting_and_nothing_else() -> None:
    fault = Fault(day=date(2026, 1, 7), kind=FaultKind.DUPLICATES, share=0.1)
    digests = [
        SyntheticConfig().digest(),
        SyntheticConfig(seed=8).digest(),
        SyntheticConfig(chunk_rows=50_000).digest(),
        SyntheticConfig(faults=(fault,)).digest(),
    ]
    assert len(set(digests)) == len(digests)
    assert SyntheticConfig.model_validate(SyntheticConfig(seed=8).model_dump(mode="json")).digest() == digests[1]


def test_faults_are_those_of_the_day() -> None:
    config = SyntheticConfig(faults=(Fault(day=date(2026, 1, 7), kind=FaultKind.LOW_VOLUME, share=0.3),))
    assert config.faults_on(date(2026, 1, 7)) == {FaultKind.LOW_VOLUME: 0.3}
    assert config.faults_on(date(2026, 1, 8)) == {}


def test_settings_load_without_numpy() -> None:
    probe = "import sys, ml.data.synthetic.config; print(sorted({'numpy', 'pyarrow'} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
