"""Typed columns from raw ones: texts, ids, labels, sequences and numbers of every raw type (times: test_times)."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.fields import FieldSpec
from ml.data.sources.columns import RawColumns, TypedColumn, UnknownColumn, absent, select_list

CONNECTION = duckdb.connect()
CONNECTION.execute("SET TimeZone = 'UTC'")


def evaluate(sql: str, value: Any, kind: str) -> Any:
    row = CONNECTION.execute(f"SELECT {sql} FROM (SELECT CAST(? AS {kind}) AS raw)", [value]).fetchone()
    assert row is not None
    return row[0]


def text(value: Any, kind: str, null_values: tuple[str, ...] = ()) -> Any:
    return evaluate(RawColumns({"raw": kind}, null_values=null_values).text("raw"), value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (7, "BIGINT", "7"),
        (7.0, "DOUBLE", "7"),
        (7.0, "FLOAT", "7"),
        (-3.0, "DOUBLE", "-3"),
        (7.25, "DOUBLE", "7.25"),
        (9007199254740992.0, "DOUBLE", "9007199254740992"),
        (float("inf"), "DOUBLE", "inf"),
        ("007", "VARCHAR", "007"),
        ("7.0", "VARCHAR", "7.0"),
        (None, "DOUBLE", None),
        ('"7.0"', "JSON", "7.0"),
        ("7.0", "JSON", "7"),
        ("7", "JSON", "7"),
        ("12345678901234567890123", "JSON", "12345678901234567890123"),
        ('"z"', "JSON", "z"),
        ("true", "JSON", "true"),
    ],
)
def test_an_id_is_the_same_text_whatever_type_the_file_stores(value: Any, kind: str, expected: str | None) -> None:
    assert text(value, kind) == expected


@pytest.mark.parametrize(("value", "kind"), [("NULL", "VARCHAR"), ('"NULL"', "JSON"), (float("nan"), "DOUBLE")])
def test_texts_that_mean_absent_are_absent_in_every_format(value: Any, kind: str) -> None:
    assert text(value, kind, null_values=("NULL", "nan")) is None
    assert text(value, kind) is not None


@given(number=st.floats(allow_nan=False))
@settings(deadline=None, max_examples=60)
def test_a_number_survives_its_text_exactly(number: float) -> None:
    assert evaluate(RawColumns({"raw": "DOUBLE"}).number("raw"), number, "DOUBLE") == number


@pytest.mark.parametrize(("raw", "expected"), [("1", 1), ("1.0", 1), ("1.5", None), ("yes", None), ("1e300", None)])
def test_a_whole_number_is_never_rounded_into_being(raw: str, expected: int | None) -> None:
    assert evaluate(RawColumns({"raw": "VARCHAR"}).whole_number("raw"), raw, "VARCHAR") == expected


@pytest.mark.parametrize(
    ("raw", "kind", "expected"),
    [
        (True, "BOOLEAN", 1),
        (False, "BOOLEAN", 0),
        ("true", "JSON", 1),
        ('"False"', "JSON", 0),
        ("TRUE", "VARCHAR", 1),
        ("0", "VARCHAR", 0),
        (1.0, "DOUBLE", 1),
        (7, "BIGINT", 7),
        ("yes", "VARCHAR", None),
        ("t", "VARCHAR", None),
        ("0.5", "VARCHAR", None),
        ("[true]", "JSON", None),
        (None, "BOOLEAN", None),
    ],
)
def test_a_label_may_be_a_truth_value_of_any_format(raw: Any, kind: str, expected: int | None) -> None:
    label = RawColumns({"raw": kind}).label("raw")
    assert evaluate(label, raw, kind) == expected
    # Only a label: a number field of truth values is a mistake in the dataset spec.
    assert evaluate(RawColumns({"raw": "BOOLEAN"}).number("raw"), True, "BOOLEAN") is None


def test_a_key_of_several_columns_is_null_where_any_part_is() -> None:
    key = RawColumns({"a": "BIGINT", "b": "DOUBLE"}).key(("a", "b"))
    rows = CONNECTION.execute(f"SELECT {key} FROM (VALUES (1, 2.0::DOUBLE), (1, NULL)) AS rows(a, b)").fetchall()
    assert rows == [("1:2",), (None,)]


def test_sequences_come_from_text_lists_and_json_alike() -> None:
    for value, kind in (("x|y", "VARCHAR"), (["x", "y"], "VARCHAR[]"), ('["x", "y"]', "JSON"), ('"x|y"', "JSON")):
        assert evaluate(RawColumns({"raw": kind}).listed("raw"), value, kind) == ["x", "y"], kind
        assert evaluate(RawColumns({"raw": kind}).listed("raw"), None, kind) is None


def test_unreadable_values_are_kept_beside_the_row_and_absent_ones_are_not_faults() -> None:
    raw = RawColumns({"price": "VARCHAR", "when": "VARCHAR", "shop": "VARCHAR"})
    columns = [
        raw.typed("time", "when", raw.time("when", format="iso", timezone="UTC")),
        *raw.field(FieldSpec(name="cost", column="price", entity="item", kind="number")),
        *raw.field(FieldSpec(name="shop", entity="item")),
        absent("order_id", "VARCHAR"),
    ]
    rows = CONNECTION.execute(
        f"SELECT {select_list(columns)} "
        "FROM (VALUES ('12,50', 'soon', 's'), (NULL, NULL, NULL)) AS r(price, \"when\", shop)"
    ).fetchall()
    assert rows == [(None, None, "s", None, ["time=soon", "cost=12,50"]), (None, None, None, None, [])]


def landed(columns: list[TypedColumn], values: str, names: str) -> list[dict[str, Any]]:
    found = CONNECTION.execute(f"SELECT {select_list(columns)} FROM (VALUES {values}) AS r({names})")
    return [dict(zip([column[0] for column in found.description], row, strict=True)) for row in found.fetchall()]


WEIGHTED = FieldSpec(name="history", entity="user", kind="sequence", weighted=True)


@pytest.mark.parametrize("kind", ["VARCHAR", "VARCHAR[]", "JSON"])
def test_a_weighted_sequence_has_a_weight_a_value_in_every_format(kind: str) -> None:
    entries = ["i1:0.5", "shop:7:-2", "i3:1e3"]
    value = {
        "VARCHAR": "'" + "|".join(entries) + "'",
        "VARCHAR[]": f"{entries}",
        "JSON": f"""'["{'", "'.join(entries)}"]'::JSON""",
    }[kind]
    [row, absent_row] = landed(RawColumns({"history": kind}).field(WEIGHTED), f"({value}), (NULL::{kind})", "history")
    assert row == {"history": ["i1", "shop:7", "i3"], "history_weights": [0.5, -2.0, 1000.0], "unparsed_columns": []}
    assert absent_row == {"history": None, "history_weights": None, "unparsed_columns": []}


@pytest.mark.parametrize("entry", ["i2", "i2:", "i2:many", "i2:nan", "i2:inf", "i2:1e999", ""])
def test_a_weight_that_cannot_be_read_is_kept_beside_the_row_and_values_stay_in_step(entry: str) -> None:
    [row] = landed(RawColumns({"history": "VARCHAR"}).field(WEIGHTED), f"('i1:1|{entry}|i3:3')", "history")
    assert row["history_weights"] == [1.0, None, 3.0]
    assert len(row["history"]) == 3
    assert row["unparsed_columns"] == [f"history_weights=i1:1|{entry}|i3:3"]


def test_ids_in_a_list_are_the_same_text_as_ids_alone() -> None:
    for kind, value in (("DOUBLE[]", [7.0, 7.25]), ("BIGINT[]", [7, 8]), ("FLOAT[]", [7.0]), ("BIGINT[2]", [7, 8])):
        listed = evaluate(RawColumns({"raw": kind}).listed("raw"), value, kind)
        single = kind.partition("[")[0]
        assert listed == [text(one, single) for one in value], kind


def test_a_json_object_or_array_is_no_single_value() -> None:
    raw = RawColumns({"user": "JSON", "price": "JSON", "history": "JSON"})
    columns = [
        *raw.field(FieldSpec(name="user", entity="user")),
        *raw.field(FieldSpec(name="price", entity="item", kind="number")),
        *raw.field(FieldSpec(name="history", entity="user", kind="sequence")),
        raw.keyed("user_key", ("user", "price")),
    ]
    [nested, good] = landed(
        columns,
        """('{"a": 1}'::JSON, '[2]'::JSON, '{"b": 2}'::JSON), ('"u"', '2', '["x"]')""",
        "user, price, history",
    )
    assert (nested["user"], nested["price"], nested["user_key"]) == (None, None, None)
    assert nested["unparsed_columns"] == ['user={"a":1}', "price=[2]", 'history={"b":2}', 'user_key={"a":1}:[2]']
    assert good == {"user": "u", "price": 2.0, "history": ["x"], "user_key": "u:2", "unparsed_columns": []}


@pytest.mark.parametrize(
    "kind", ["STRUCT(a BIGINT)", "MAP(VARCHAR, BIGINT)", "BLOB", "BIGINT[]", "TIMESTAMP[]", "BIGINT[3]", "BIT"]
)
def test_a_type_that_holds_no_single_value_is_refused_by_its_name(kind: str) -> None:
    raw = RawColumns({"raw": kind})
    for read in (raw.text, raw.number, raw.label, raw.key):
        with pytest.raises(UnknownColumn, match=r"column 'raw' is .*, where one value a row is needed"):
            read("raw")
    with pytest.raises(UnknownColumn, match="is STRUCT\\(a BIGINT\\)\\[\\], where a list of single values is needed"):
        RawColumns({"raw": "STRUCT(a BIGINT)[]"}).listed("raw")


def test_an_unknown_column_names_those_there_are() -> None:
    with pytest.raises(UnknownColumn, match=r"no column 'Price' \(but 'price'\); the file has price, user"):
        RawColumns({"user": "VARCHAR", "price": "DOUBLE"}).text("Price")
    many = {f"c{number}": "VARCHAR" for number in range(10_000)}
    with pytest.raises(UnknownColumn, match=r"no column 'user'.*; the file has c0, c1, .* and 9980 more") as refused:
        RawColumns(many).text("user")
    assert len(str(refused.value)) < 300


def test_a_column_that_a_file_lacks_names_the_file() -> None:
    raw = RawColumns({"user": "VARCHAR"}, lacking={"price": Path("b.csv")})
    with pytest.raises(UnknownColumn, match="no column 'price', which other files of the table have") as refused:
        raw.number("price")
    assert refused.value.path == Path("b.csv")
