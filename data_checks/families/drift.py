"""Drift rules: fields against the trailing days, and features that know the label; no row is judged here."""

from data_checks.families.day_rule import Bound, on_day

RULES = (
    on_day(
        "drift.field_shifted",
        effect="warn",
        description="a field's values are distributed otherwise than on the trailing days (PSI beyond the usual)",
        measure="psi",
        high=Bound(setting="psi_warn"),
        evidence=("field", "psi"),
    ),
    on_day(
        "drift.field_replaced",
        effect="refuse",
        description="a field's values have hardly anything in common with the trailing days' (PSI beyond the usual)",
        measure="psi",
        high=Bound(setting="psi_refuse"),
        evidence=("field", "psi"),
    ),
    on_day(
        "drift.ids_new",
        effect="warn",
        description="more rows than usual have a value of a field that no trailing day had",
        measure="new_share",
        high=Bound(setting="new_share_warn"),
        evidence=("field", "new_share"),
    ),
    on_day(
        "drift.ids_replaced",
        effect="refuse",
        description="most rows have a value of a field that no trailing day had, unlike usual: another id format",
        measure="new_share",
        high=Bound(setting="new_share_refuse"),
        evidence=("field", "new_share"),
    ),
    on_day(
        "drift.field_named_like_label",
        effect="refuse",
        description="a field, or its raw column, is called like a label: the outcome would be among the features",
        measure="label_names",
        high=Bound(),
        evidence=("field",),
    ),
    on_day(
        "drift.field_separates_label",
        effect="refuse",
        description="a field alone separates a label almost without error: it was written after the outcome",
        measure="field_auc",
        high=Bound(setting="max_field_auc"),
        evidence=("field", "label", "auc"),
    ),
)
