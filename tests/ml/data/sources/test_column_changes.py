"""What is said of columns that came, went or changed their type between two days."""

from ml.data.sources.column_changes import column_changes

BEFORE = {"impressions": {"id": "BIGINT", "price": "DOUBLE", "old": "VARCHAR"}, "clicks": {"id": "BIGINT"}}


def test_new_gone_and_retyped_columns_are_named_with_their_table() -> None:
    changes = column_changes(
        BEFORE, {"impressions": {"id": "BIGINT", "price": "VARCHAR", "new": "DATE"}, "clicks": {"id": "BIGINT"}}
    )
    assert changes.new == ("impressions.new",)
    assert changes.gone == ("impressions.old",)
    assert changes.retyped == ("impressions.price: DOUBLE to VARCHAR",)
    assert changes.in_words() == (
        "new: impressions.new; gone: impressions.old; of another type: impressions.price: DOUBLE to VARCHAR"
    )


def test_no_change_is_nothing_to_say_and_unknown_columns_are_no_change() -> None:
    assert column_changes(BEFORE, BEFORE).in_words() is None
    # Landed before columns were kept, or by a spec without that table.
    assert column_changes({"impressions": {}}, BEFORE).in_words() is None
    assert column_changes(BEFORE, {"clicks": {"id": "BIGINT"}, "carts": {"id": "BIGINT"}}).in_words() is None


def test_many_columns_are_counted_not_listed() -> None:
    many = {"impressions": BEFORE["impressions"] | {f"c{number:04}": "DOUBLE" for number in range(10_000)}}
    assert column_changes(BEFORE, many).in_words(most=2) == "new: impressions.c0000, impressions.c0001 and 9998 more"
