"""A field's own rules: names, kinds and the columns that no field may be named after."""

import pytest
from pydantic import ValidationError

from ml.data.fields import RESERVED_COLUMNS, FieldSpec


def test_a_field_is_read_from_its_column_or_from_its_own_name() -> None:
    assert FieldSpec(name="price", entity="item").source_column == "price"
    assert FieldSpec(name="price", column="price_usd", entity="item").source_column == "price_usd"


@pytest.mark.parametrize("name", sorted(RESERVED_COLUMNS))
def test_no_field_takes_the_name_of_a_label_or_of_another_samples_column(name: str) -> None:
    with pytest.raises(ValidationError, match="give the field another name and keep the log's name in `column`"):
        FieldSpec(name=name, entity="context")
    assert FieldSpec(name=f"raw_{name}", column=name, entity="context").source_column == name


def test_labels_and_true_probabilities_are_among_the_reserved() -> None:
    assert {
        "click",
        "conversion",
        "value",
        "click_time",
        "conversion_time",
        "p_click",
        "p_conversion",
    } <= RESERVED_COLUMNS


@pytest.mark.parametrize("name", ["", "Price", "1st", "a-b", "a b", "x" * 64, '"; DROP TABLE landed'])
def test_names_are_plain_lower_case_identifiers(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        FieldSpec(name=name, entity="item")


def test_of_belongs_to_sequences_and_only_to_them() -> None:
    assert FieldSpec(name="seen", entity="user", kind="sequence", of="item").max_length == 50
    assert FieldSpec(name="seen", entity="user", kind="sequence", weighted=True).weights_column == "seen_weights"
    with pytest.raises(ValidationError, match="of; these belong to sequences"):
        FieldSpec(name="seen", entity="user", kind="category", of="item")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"kind": "number", "weighted": True}, "weighted; these belong to sequences"),
        ({"kind": "id", "behaviour": "click"}, "behaviour; these belong to sequences"),
        ({"kind": "sequence", "behaviour": "click"}, "name the field whose values it lists"),
        ({"kind": "sequence", "behaviour": "click", "of": "item", "weighted": True}, "give no weights"),
        ({"kind": "category", "aggregate": {"by": ["item"], "count": "click"}}, "an aggregate is a number"),
        ({"kind": "sequence", "behaviour": "click", "of": "item", "column": "c"}, "remove one of both"),
        (
            {"kind": "number", "aggregate": {"by": ["item"], "count": "click", "per": "impression", "mean_of": "p"}},
            "a rate or a mean",
        ),
    ],
)
def test_derived_fields_and_lists_are_declared_whole(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        FieldSpec.model_validate({"name": "a", "entity": "user"} | wrong)


@pytest.mark.parametrize(
    "wrong", [{"buckets": 1}, {"max_length": 0}, {"entity": "shop"}, {"kind": "text"}, {"size": 3}]
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        FieldSpec.model_validate({"name": "a", "entity": "item"} | wrong)
