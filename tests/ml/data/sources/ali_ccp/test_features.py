"""Cutting feature texts into fields: against a parser that splits one text after the other."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.fields import FieldSpec
from ml.data.sources.ali_ccp.features import FeatureParser, FieldValues, ParsedFeatures
from tests.ml.data.sources.ali_ccp.published_reference import parse_slowly

FIELDS = (
    FieldSpec(name="user", column="101", entity="user", kind="id"),
    FieldSpec(name="number", column="853", entity="context", kind="number"),
    FieldSpec(name="several", column="210", entity="context", kind="sequence"),
    FieldSpec(name="weighted", column="150_14", entity="user", kind="sequence", weighted=True, max_length=2),
    FieldSpec(name="longest", column="12345678", entity="user"),
)
IDS = ["1", "007", "1234567890ab", "1234567890abc", "1234567890abd", "9" * 30, "é", "😀" * 4, 'a"b', "ß,", " "]
VALUES = ["1.0", "0.69315", "-2", "1e3", "+.5", "x", "nan", "inf", "1e999", ""]


def parse(*texts: str) -> ParsedFeatures:
    ended = [text + "\x01" if text else "" for text in texts]
    return FeatureParser(FIELDS).parse(pa.array(ended, pa.string()))


def by_row(values: FieldValues | None, rows: int) -> list[list[Any]]:
    """The values of each row: ids, numbers, or pairs of both."""
    if values is None:
        return [[] for _ in range(rows)]
    ids = None if values.ids is None else values.ids.to_pylist()
    numbers = None if values.numbers is None else values.numbers.tolist()
    flat: list[Any] = list(zip(ids, numbers, strict=True)) if ids and numbers else ids or numbers or []
    listed, place = [], 0
    for length in values.lengths.tolist():
        listed.append(flat[place : place + length])
        place += length
    assert place == len(flat)
    return listed


well_formed = st.builds(
    "{}\x02{}\x03{}".format,
    st.sampled_from(["101", "853", "210", "150_14", "12345678", "123456789", "10", "1010", "999"]),
    st.sampled_from(IDS),
    st.sampled_from(VALUES),
)
broken = st.sampled_from(
    [
        "",
        "101",
        "101\x02",
        "101\x025",
        "101\x03\x02",
        "\x025\x031",
        "101\x02\x031",
        "1\x022\x033\x034",
        "1\x02\x00\x032",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.one_of(well_formed, well_formed, well_formed, broken), max_size=9), max_size=7))
def test_a_batch_is_what_a_plain_loop_makes_of_its_texts(rows: list[list[str]]) -> None:
    texts = ["\x01".join(items) for items in rows]
    parsed = parse(*texts)
    expected = [parse_slowly(text, FIELDS) for text in texts]
    assert parsed.found.tolist() == [found for found, _, _ in expected]
    for field in FIELDS:
        assert by_row(parsed.fields.get(field.name), len(rows)) == [values[field.name] for _, values, _ in expected]
    assert [set(parsed.faults.get(row, ())) for row in range(len(rows))] == [set(faults) for _, _, faults in expected]


def test_the_order_of_fields_is_nothing() -> None:
    items = ["101\x025\x031.0", "210\x027\x031.0", "853\x029\x030.5", "210\x028\x031.0"]
    forth, back = parse("\x01".join(items)), parse("\x01".join(items[::-1]))
    assert by_row(forth.fields["user"], 1) == by_row(back.fields["user"], 1) == [["5"]]
    assert by_row(forth.fields["number"], 1) == by_row(back.fields["number"], 1) == [[0.5]]
    assert (by_row(forth.fields["several"], 1), by_row(back.fields["several"], 1)) == ([["7", "8"]], [["8", "7"]])


def test_a_weighted_list_keeps_its_heaviest_with_the_strongest_last_and_of_equals_the_later() -> None:
    weights = {"a": "1.5", "b": "3.25", "c": "0.5", "d": "3.25", "e": "2"}
    text = "\x01".join(f"150_14\x02{one}\x03{weight}" for one, weight in weights.items())
    assert by_row(parse(text).fields["weighted"], 1) == [[("b", 3.25), ("d", 3.25)]]


@pytest.mark.parametrize("repeats", [["5", "5"], ["5", "5", "5"], ["1234567890abc", "1234567890abc"]])
def test_a_single_value_may_be_said_twice(repeats: list[str]) -> None:
    parsed = parse("\x01".join(f"101\x02{one}\x031.0" for one in repeats))
    assert by_row(parsed.fields["user"], 1) == [repeats[:1]]
    assert not parsed.faults


def test_a_single_value_given_with_different_ids_is_none_of_them() -> None:
    parsed = parse("101\x025\x031.0", "101\x025\x031.0\x01101\x026\x031.0\x01101\x025\x031.0")
    assert by_row(parsed.fields["user"], 2) == [["5"], []]
    assert parsed.faults == {1: ["user=5|6"]}


def test_what_is_broken_is_shown_with_visible_separators_and_cut() -> None:
    faults = parse("101\x025\x02" + "7" * 2_000_000, "150_14\x021\x03heavy").faults
    assert faults == {0: ["features=101␂5␂" + "7" * 74], 1: ["features=150_14␂1␃heavy"]}


def test_no_texts_and_empty_texts_hold_nothing() -> None:
    assert parse().found.tolist() == []
    assert parse("", "").found.tolist() == [0, 0]


def test_a_slice_of_a_batch_is_parsed_as_itself() -> None:
    texts = pa.array([f"101\x02{one}\x031\x01" * copies for one, copies in ((1, 4), (2, 2), (3, 1), (4, 3))])
    parsed = FeatureParser(FIELDS).parse(texts.slice(1, 2))
    assert parsed.found.tolist() == [2, 1]
    assert by_row(parsed.fields["user"], 2) == [["2"], ["3"]]
