"""What a receipt says of a rule: which cells are at fault, and why it was not judged."""

from collections.abc import Callable
from types import SimpleNamespace

from data_checks.receipts import Receipt


def test_only_cells_that_are_at_fault_are_named(build: SimpleNamespace, judge: Callable[..., Receipt]) -> None:
    ranges = {"price": {"min": 0}}
    spec = build.spec(validation={"max_bad_share": 1.0, "max_text_length": 250, "fields": ranges})
    rows = [
        build.row(1, position="a\nb"),
        # Longer than a cell is shown, and shorter: both are too long for the spec.
        build.row(2, item="x" * 300),
        build.row(3, item="é" * 126),
        build.row(4, price=float("nan")),
        build.row(5, price=-1.0),
        build.row(6, click=0),
    ]
    named = {result.rule: result.offending for result in judge(rows, spec=spec).rules if result.failed}
    assert named == {
        "schema.text_malformed": ("item", "position"),
        "schema.number_not_finite": ("price",),
        "schema.number_out_of_range": ("price",),
        "label_consistency.conversion_without_click": ("click", "conversion"),
    }


def test_a_rule_that_does_not_apply_says_so_and_has_judged_nothing(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    found = {result.rule: result for result in judge([build.row(1)]).rules}
    why = {
        "schema.number_out_of_range": "no field has a range (validation.fields)",
        "label_consistency.cart_without_click": "the log has no cart events",
        "click_before_conversion.orphan_favourite": "the log has no favourite events",
        "volume.unusual_click_rate": "0 days in the 35 before can be compared, 0 of the same weekday; 7 or 4 are "
        "needed (validation.season_*)",
        "duplicates.order_repeated": "every conversion was credited, so that none is a row of its own",
    }
    assert {rule: found[rule].why for rule in why} == why
    assert all((found[rule].judged, found[rule].rows, found[rule].failed) == (0, 0, False) for rule in why)
    assert all(result.description for result in found.values())
