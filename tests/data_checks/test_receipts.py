"""Receipts: they lose no rows, survive JSON and keep their id."""

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from data_checks.receipts import Receipt

DAY = date(2026, 3, 2)
START = datetime(2026, 3, 5, 9, tzinfo=UTC)


def _receipt(**changes: Any) -> Receipt:
    content = {
        "dataset": "shop",
        "day": DAY,
        "input_version": "v1",
        "rules_version": "r1",
        "label_horizon": START,
        "events": None,
        "rows_in": 100,
        "impressions": 100,
        "admitted": 97,
        "quarantined": 3,
        "bad_share": 0.03,
        "max_bad_share": 0.05,
        "clicks": 10,
        "conversions": 2,
        "mature": 97,
        "verdict": "admitted",
        "reasons": (),
        "rules": (),
        "content_sha256": "c",
        "quarantine_sha256": "q",
    }
    return Receipt.model_validate(content | changes)


ADMITTED = _receipt()


def test_a_receipt_survives_json_and_keeps_its_id() -> None:
    again = Receipt.model_validate_json(ADMITTED.canonical_json())
    assert again == ADMITTED
    assert again.receipt_id == ADMITTED.receipt_id
    assert len(ADMITTED.receipt_id) == 64
    assert _receipt(mature=96).receipt_id != ADMITTED.receipt_id


def test_a_receipt_that_loses_rows_cannot_be_made() -> None:
    with pytest.raises(ValidationError, match="100 rows in, but 97 admitted \\+ 2 quarantined = 99"):
        _receipt(quarantined=2)


def test_reasons_belong_to_refused_days_and_only_to_them() -> None:
    with pytest.raises(ValidationError, match="a refused day"):
        _receipt(verdict="refused")
    with pytest.raises(ValidationError, match="a refused day"):
        _receipt(reasons=("x",))


#: As a receipt was stored before cells and descriptions were named, and the id that decisions on it are bound to.
_FORMAT_1 = (
    '{"admitted":97,"bad_share":0.03,"clicks":10,"content_sha256":"c","conversions":2,"dataset":"shop","day":"2026-03-02",'
    '"events":null,"format_version":1,"impressions":100,"input_version":"v1","label_horizon":"2026-03-05T09:00:00Z",'
    '"mature":97,"max_bad_share":0.05,"quarantine_sha256":"q","quarantined":3,"reasons":[],"rows_in":100,"rules":[{'
    '"effect":"quarantine","failed":true,"family":"schema","judged":100,"observed":null,"rows":3,"rule":'
    '"schema.value_unreadable","samples":[],"share":0.03,"threshold":0.05,"trailing_median":null,"why":""}],'
    '"rules_version":"r1","verdict":"admitted"}'
)


def test_a_receipt_of_format_1_is_read_and_keeps_its_id() -> None:
    old = Receipt.model_validate_json(_FORMAT_1)
    assert old.canonical_json().decode() == _FORMAT_1
    assert old.receipt_id == hashlib.sha256(_FORMAT_1.encode()).hexdigest()
    assert old.by_rule() == {"schema.value_unreadable": 3}
    assert (old.rules[0].offending, _receipt().format_version) == ((), 2)
