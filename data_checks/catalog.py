"""All rules in force and their version; a new family is a file in `families` and a line here."""

import hashlib
import json
from datetime import date

from data_checks.families import click_before_conversion, duplicates, label_consistency, schema, volume
from data_checks.receipts import FAMILIES
from data_checks.rules import Rule, RuleContext, TrailingVolume
from ml.data.dataset import DatasetSpec

_BY_FAMILY = {
    "schema": schema.RULES,
    "label_consistency": label_consistency.RULES,
    "click_before_conversion": click_before_conversion.RULES,
    "duplicates": duplicates.RULES,
    "volume": volume.RULES,
}

RULES: tuple[Rule, ...] = tuple(rule for family in FAMILIES for rule in _BY_FAMILY[family])


def rules_version(spec: DatasetSpec) -> str:
    """sha256 (hex) over what judges a day: the rules' ids, effects, SQL texts, and the thresholds in force."""
    context = RuleContext(
        spec=spec, day=date.min, impressions=0, trailing=TrailingVolume(median=None, days=0, why_not_judged="no day")
    )
    content = {
        "rules": [
            [rule.id, rule.effect, rule.level, rule.mask_sql(spec), rule.quantity.sql(spec), rule.threshold(spec)]
            for rule in RULES
        ],
        "thresholds": context.thresholds,
        "validation": spec.validation.model_dump(mode="json"),
        "timezone": spec.timezone,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
