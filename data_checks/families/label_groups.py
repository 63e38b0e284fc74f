"""Label rules on users and orders: what no single row shows, from the day's facts about them; rows have their own."""

from data_checks.expectations import between
from data_checks.rules import IS_IMPRESSION, WHERE_FROM, Quantity, Rule, always, applies
from ml.data.dataset import DatasetSpec

_HAS_ORDER = f"{IS_IMPRESSION} AND order_id IS NOT NULL"
#: Rows of one order: impressions that converted by it, and repeated deliveries of it.
_OF_ORDER = "row_kind IN ('impression', 'conversion') AND order_id IS NOT NULL AND value IS NOT NULL"
_ORDER = ("row_kind", "impression_id", "user_key", "item_key", "order_id", "value", *WHERE_FROM)


def _one_sided_user(label: str, *, verb: str) -> Rule:
    """A script that opens every link, a test account, or a feed that lost the rows of one kind: the labels of such a
    user say nothing of interest in what was shown. Judged only while fewer than half of all impressions have the
    label, so that nobody is one-sided by chance."""

    def implied(spec: DatasetSpec) -> str:
        return "every impression of this log is a click" if label == "click" and spec.clicks_implied else ""

    labels = f"{label}s_of_user"
    # Only users all of whose impressions have the label are in the table for it; anyone else has none in a row.
    counted = f"(SELECT {labels} FROM odd_users WHERE odd_user = user_key AND {labels} = impressions_of_user)"
    return Rule(
        id=f"label_consistency.user_always_{verb}",
        effect="quarantine",
        description=f"every impression of the user has a {label}, and there are one_sided_user_impressions or more",
        mask_sql=always(
            f"{IS_IMPRESSION} AND ${label}_is_rare AND user_key IN (SELECT odd_user FROM odd_users "
            f"WHERE {labels} >= impressions_of_user AND impressions_of_user >= $one_sided_user_impressions)"
        ),
        quantity=Quantity(
            name=f"{label}s_in_a_row",
            sql=always(f"CASE WHEN {IS_IMPRESSION} AND ${label}_is_rare THEN coalesce({counted}, 0) END"),
        ),
        expectation=between(
            f"{label}s_in_a_row", below=lambda context: context.spec.validation.one_sided_user_impressions
        ),
        unjudged=f"no impressions, or half of them have a {label} and one-sided users prove nothing",
        sample_columns=always(("impression_id", "user_key", label, *WHERE_FROM)),
        offending=always(("user_key", label)),
        not_applicable=implied if label == "click" else applies,
    )


RULES = (
    _one_sided_user("click", verb="clicks"),
    _one_sided_user("conversion", verb="converts"),
    Rule(
        id="label_consistency.order_of_several_users",
        effect="quarantine",
        # Whose order it was cannot be told: at most one of the labels is true.
        description="impressions of several users converted by this one order",
        mask_sql=always(f"{_HAS_ORDER} AND order_id IN (SELECT odd_order FROM odd_orders WHERE users_of_order > 1)"),
        quantity=Quantity(
            name="users_of_order",
            sql=always(
                f"CASE WHEN {_HAS_ORDER} "
                "THEN coalesce((SELECT users_of_order FROM odd_orders WHERE odd_order = order_id), 1) END"
            ),
        ),
        expectation=between("users_of_order", high=1),
        unjudged="no impression has an order id",
        sample_columns=always(_ORDER),
        offending=always(("user_key", "order_id")),
    ),
    Rule(
        id="label_consistency.order_values_differ",
        effect="warn",
        # The label stands, only the value is in doubt: a corrected amount, or a delivery of part of the order.
        description="the order has another value in another row of the same item, such as a repeated delivery",
        mask_sql=always(
            f"{_OF_ORDER} AND EXISTS (SELECT 1 FROM odd_values WHERE valued_order = order_id "
            "AND valued_item = item_key AND values_of_order > 1)"
        ),
        quantity=Quantity(
            name="values_of_order",
            sql=always(
                f"CASE WHEN {_OF_ORDER} THEN coalesce((SELECT values_of_order FROM odd_values "
                "WHERE valued_order = order_id AND valued_item = item_key), 1) END"
            ),
        ),
        expectation=between("values_of_order", high=1),
        unjudged="no row has both an order id and a value",
        sample_columns=always(_ORDER),
        offending=always(("value",)),
    ),
)
