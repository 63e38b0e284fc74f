"""Layouts that hang together, and the refusal of those that do not."""

import pytest
from pydantic import ValidationError

from ml.data.layout import MAX_ROWS, FeatureColumn, FeatureLayout, SequenceColumn

USER = FeatureColumn(name="user", entity="user", kind="id", offset=0, size=4)
AGE = FeatureColumn(name="age", entity="user", kind="category", offset=4, size=3)
ITEM = FeatureColumn(name="item", entity="item", kind="id", offset=7, size=6)
POSITION = FeatureColumn(name="position", entity="context", kind="category", offset=13, size=2, bias=True)
HISTORY = SequenceColumn(name="history", of="item", entity="user", max_length=5)


TAGS = SequenceColumn(name="tags", entity="user", max_length=5, weighted=True, offset=20, size=3)


def layout(**changes: object) -> FeatureLayout:
    parts: dict[str, object] = {
        "columns": (USER, AGE, ITEM, POSITION),
        "sequences": (HISTORY,),
        "total_rows": 15,
        "user_key": "user",
        "item_key": "item",
    }
    return FeatureLayout.model_validate(parts | changes)


def test_columns_are_found_by_name_entity_and_side() -> None:
    built = layout()
    assert built.index("item") == 2
    assert built.entity_columns("user") == (0, 1)
    assert built.entity_columns("context") == (3,)
    assert (built.node_column("user"), built.node_column("item")) == (0, 2)
    assert (built.node_count("user"), built.node_count("item")) == (3, 5)


def test_an_unknown_name_lists_the_columns_there_are() -> None:
    with pytest.raises(ValueError, match=r"no column 'brand'.*\['user', 'age', 'item', 'position'\]"):
        layout().index("brand")


def test_json_round_trip() -> None:
    built = layout()
    assert FeatureLayout.model_validate_json(built.model_dump_json()) == built


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_rows": 14}, "total_rows is 14, but the columns hold 15 rows"),
        ({"columns": (USER, ITEM), "total_rows": 10}, "'item' starts at row 7, expected 4"),
        ({"sequences": (HISTORY.model_copy(update={"name": "age"}),)}, r"more than once: \['age'\]"),
        ({"sequences": (HISTORY.model_copy(update={"of": "shop"}),)}, "no column 'shop'"),
        ({"sequences": (TAGS,), "total_rows": 18}, "'tags' starts at row 20, expected 15"),
        ({"user_key": "item"}, "user_key 'item' is a field of entity 'item', not of 'user'"),
        ({"item_key": "shop"}, "no column 'shop'"),
    ],
)
def test_an_inconsistent_layout_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        layout(**changes)


@pytest.mark.parametrize(("rows", "refused"), [(MAX_ROWS - 1, False), (MAX_ROWS, True)])
def test_a_table_beyond_int32_is_refused_naming_the_largest_field(rows: int, refused: bool) -> None:
    user = USER.model_copy(update={"size": rows - 2})
    item = ITEM.model_copy(update={"offset": rows - 2, "size": 2})
    built = layout(columns=(user, item), total_rows=rows)
    if refused:
        with pytest.raises(ValueError, match=rf"{MAX_ROWS} rows.*raise min_count.*'user'"):
            built.refuse_oversized()
    else:
        built.refuse_oversized()


def test_rows_of_their_own_follow_the_columns() -> None:
    tags = TAGS.model_copy(update={"offset": 15})
    built = layout(sequences=(tags, HISTORY), total_rows=18)
    assert [rows.name for rows in built.row_ranges] == ["user", "age", "item", "position", "tags"]
    assert built.row_range("tags") == ("tags", "category", 15, 3)
    assert built.row_range("history") == built.row_range("item") == ("item", "id", 7, 6)
    assert FeatureLayout.model_validate_json(built.model_dump_json()) == built
    with pytest.raises(ValueError, match=r"no field 'shop'.*'tags'"):
        built.row_range("shop")


def test_a_sequence_of_a_field_is_written_as_before_there_were_others() -> None:
    assert HISTORY.model_dump() == {"name": "history", "of": "item", "entity": "user", "max_length": 5}


@pytest.mark.parametrize("rows", [{}, {"of": "item", "offset": 1, "size": 2}, {"offset": 1}, {"size": 1}])
def test_a_sequence_has_rows_of_its_own_or_those_of_a_field(rows: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="give the field whose rows it uses, or offset and size"):
        SequenceColumn.model_validate({"name": "tags", "entity": "user", "max_length": 5, **rows})


def test_a_list_may_be_the_largest() -> None:
    tags = TAGS.model_copy(update={"offset": 15, "size": MAX_ROWS})
    with pytest.raises(ValueError, match="the largest is 'tags'"):
        layout(sequences=(tags,), total_rows=15 + MAX_ROWS).refuse_oversized()
