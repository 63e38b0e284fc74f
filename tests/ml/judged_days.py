"""Fixtures of small judged days: predictions, models' facts, gates; for the tests of evaluation and of the report."""

from datetime import date, timedelta
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pandas as pd
import pytest

from ml.data.policy import GateSpec
from ml.evaluation.evaluated_day import ModelFacts
from ml.evaluation.gate import GateFacts

DAY = date(2026, 11, 15)


@pytest.fixture
def good_facts():
    return GateFacts(
        mature=True,
        judged_day_admitted=True,
        inputs_admitted=True,
        judged_day_in_training=False,
        smoke_test_max_difference=0.0,
    )


@pytest.fixture
def gate():
    return GateSpec(replicates=200)


@pytest.fixture
def challenger_facts():
    return ModelFacts(model_id="c" * 64, model="cstwa", as_of=DAY)


@pytest.fixture
def champion_facts():
    return ModelFacts(model_id="a" * 64, model="esmm", as_of=DAY - timedelta(days=1))


@pytest.fixture
def judged_day(tmp_path):
    """A synthetic day on disk: `predictions(name, noise)` writes a model's file; truth.parquet; frame of the labels."""
    rows, generator = 6000, np.random.default_rng(11)
    click_logit = generator.normal(size=rows) - 1
    conversion_logit = generator.normal(size=rows) - 0.5
    p_click, p_conversion = (1 / (1 + np.exp(-logit)) for logit in (click_logit, conversion_logit))
    click = (generator.random(rows) < p_click).astype(np.uint8)
    conversion = ((generator.random(rows) < p_conversion) & (click == 1)).astype(np.uint8)
    labels = pd.DataFrame(
        {
            "impression_id": [f"i{number:05d}" for number in generator.permutation(rows)],
            "unit_key": [f"u{number}" for number in generator.integers(0, 1500, rows)],
            "click": click,
            "conversion": conversion,
            "value": np.zeros(rows, dtype=np.float32),
        }
    )

    def predictions(name, *, noise=0.0, edit=None):
        own = np.random.default_rng(crc32(name.encode()))
        p_ctr, p_cvr = (
            1 / (1 + np.exp(-logit - noise * own.normal(size=rows))) for logit in (click_logit, conversion_logit)
        )
        frame = labels.assign(p_ctr=p_ctr, p_cvr=p_cvr, p_ctcvr=p_ctr * p_cvr)
        frame = edit(frame) if edit else frame
        frame.to_parquet(tmp_path / name)
        return tmp_path / name

    truth = labels[["impression_id"]].assign(p_click=p_click, p_conversion=p_conversion)
    truth.to_parquet(tmp_path / "truth.parquet")
    return SimpleNamespace(
        predictions=predictions, truth=tmp_path / "truth.parquet", labels=labels, folder=tmp_path, p_click=p_click
    )
