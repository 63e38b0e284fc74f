"""The summaries of days and models: from what is stored, as tables and as JSON with the keys that were promised."""

import io
import json
import re
from datetime import date

import pytest
from rich.console import Console

from ml.data.dataset import DatasetSpec
from orchestration.build import build_platform
from orchestration.settings import Settings
from orchestration.summary import (
    DaySummary,
    ModelSummary,
    as_json,
    print_days,
    print_models,
    refused_model,
    summarize_day,
)

DAY = DaySummary(
    day="2026-01-06",
    rows_in=12345,
    admitted=12000,
    quarantined=345,
    by_rule={"duplicates.repeated_impression": 345},
    verdict="admitted",
    mature=False,
    standing="admitted",
    usable=True,
    reasons=[],
    top_rule="duplicates.repeated_impression",
    failed_rules=3,
    decision="accept",
    decided_by="ann",
)
MODEL = ModelSummary(
    as_of="2026-01-09",
    model="esmm",
    model_id="0123456789abcdef",
    auc_ctr=0.71234,
    auc_cvr=None,
    auc_ctcvr=0.6,
    ceilings={"ctr": 0.8, "cvr": None, "ctcvr": None},
    decision="promoted",
    reasons=["It is better."],
    report="/store/report.html",
)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=160)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_day_never_validated_is_told_as_such(settings: Settings, spec: DatasetSpec):
    summary = summarize_day(build_platform(settings, spec), date(2026, 1, 6))
    assert (summary.verdict, summary.usable, summary.rows_in) == ("no receipt", False, 0)
    assert "materialize" in summary.standing


def test_days_as_a_table(console: Console):
    refused = {"by_rule": {}, "mature": True, "top_rule": "volume.empty", "failed_rules": 1, "decision": None}
    print_days(console, [DAY, DAY.model_copy(update=refused)])
    text = re.sub(r"[\s│]+", " ", shown(console))
    for part in ("12,345", "12,000", "345", "duplicates.repeated_impression", "345 (+2 more)", "provisional", "mature"):
        assert part in text
    assert "accept by ann" in text
    assert "volume.empty admitted" in text, "a rule on the day has no rows of its own to count"


def test_a_reviewers_words_are_words_and_no_markup(console: Console):
    print_days(console, [DAY.model_copy(update={"standing": "accepted: [/red] [bold]ok", "decided_by": "[b]ann"})])
    assert "accepted: [/red] [bold]ok" in shown(console)
    assert "[b]ann" in shown(console)


def test_models_as_a_table_with_ceilings_reasons_and_report(console: Console):
    print_models(console, [MODEL, refused_model(date(2026, 1, 10), "mlp", "no rows", decision="refused")])
    text = shown(console)
    for part in ("0.7123 of 0.8000", "not measurable", "0.6000", "0123456789ab", "It is better.", "report.html"):
        assert part in text
    assert "2026-01-10: refused\n  no rows" in text
    assert "0123456789abc" not in text


def test_json_holds_the_promised_keys():
    content = json.loads(json.dumps(as_json([DAY], [MODEL])))
    assert (
        content["days"][0].items()
        >= {
            "day": "2026-01-06",
            "rows_in": 12345,
            "admitted": 12000,
            "quarantined": 345,
            "by_rule": {"duplicates.repeated_impression": 345},
            "verdict": "admitted",
        }.items()
    )
    assert (
        content["models"][0].items()
        >= {
            "as_of": "2026-01-09",
            "model": "esmm",
            "model_id": "0123456789abcdef",
            "auc_ctr": 0.71234,
            "auc_cvr": None,
            "auc_ctcvr": 0.6,
            "decision": "promoted",
            "reasons": ["It is better."],
        }.items()
    )
