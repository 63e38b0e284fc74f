"""All rules in force and their version; a new family is a file in `families` and a line here."""

import hashlib
import json

from data_checks.drift import DRIFT_CONSTANTS
from data_checks.families import (
    click_before_conversion,
    drift,
    duplicates,
    label_consistency,
    label_groups,
    schema,
    schema_fields,
    volume,
)
from data_checks.leaks import LEAK_CONSTANTS
from data_checks.receipts import FAMILIES
from data_checks.rules import Rule
from ml.data.dataset import DatasetSpec

_BY_FAMILY = {
    "schema": (*schema.RULES, *schema_fields.RULES),
    "label_consistency": (*label_consistency.RULES, *label_groups.RULES),
    "click_before_conversion": click_before_conversion.RULES,
    "duplicates": duplicates.RULES,
    "volume": volume.RULES,
    "drift": drift.RULES,
}

RULES: tuple[Rule, ...] = tuple(rule for family in FAMILIES for rule in _BY_FAMILY[family])


def rules_version(spec: DatasetSpec) -> str:
    """sha256 (hex) over what judges a day: the rules' ids, effects and SQL texts, and all thresholds in force."""
    content = {
        "rules": [
            [rule.id, rule.effect, rule.level, rule.mask_sql(spec), rule.quantity.sql(spec), rule.not_applicable(spec)]
            for rule in RULES
        ],
        "attribution": spec.attribution.model_dump(mode="json"),
        "validation": spec.validation.model_dump(mode="json"),
        "timezone": spec.timezone,
        "constants": [DRIFT_CONSTANTS, LEAK_CONSTANTS],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
