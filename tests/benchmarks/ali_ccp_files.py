"""Generates files in the format of Ali-CCP as published, at any length, with its click and conversion rates.

`python -m tests.benchmarks.ali_ccp_files FOLDER --rows 1000000` writes `sample_skeleton_{train,test}.csv` and
`common_features_{train,test}.csv` below FOLDER. Sizes follow the real files: 20 to 30 features a skeleton row, 340 to
800 a common row, one common row for 58 skeleton rows in a run.

A click's logit is the sum of effects, normal by the hash of a value: of the user, of the item, and of category × user
group. A conversion's has the click's as one part, the user's category, age and consumption as others: of 0.02 % of the
impressions little more can be learned. Nothing else of the real log is in it: no result on it speaks of Ali-CCP.
"""

import argparse
import math
from pathlib import Path
from statistics import NormalDist

import duckdb

#: 1,645,000 clicks in the 42,300,135 rows of the real train file, and 9,000 conversions, as its papers count them.
CLICK_RATE, CONVERSION_RATE = 0.0389, 0.0054
#: Spread of the two logits; what there is to learn is worth an AUC of about .66 on clicks, as models reach there.
CLICK_SPREAD, CONVERSION_SPREAD = 0.58, 1.0
#: 42,300,135 skeleton rows to 730,600 common rows in the real train files.
ROWS_PER_COMMON = 58

# One common row: who the user is, and what the user did, in four weighted lists of unequal length. Real files lack 101
# in 3 of 1,000 rows, 121..128 in 13 % and 126 in more than half; the lists hold each id once.
_COMMON = """
COPY (
    WITH drawn AS (
        SELECT
            n, profile(1 + hash(n, {seed}, 'user') % {users}) AS h,
            330 + CAST(hash(n, {seed}, 'length') % 460 AS INTEGER) AS listed
        FROM range({rows}) AS numbers(n)
    ),
    features AS (
        SELECT
            n,
            h,
            list_filter(
                [
                    CASE WHEN hash(n, 'known') % 1000 >= 3
                        THEN format('101{b}{{}}{c}1.0', 1 + hash(n, {seed}, 'user') % {users}) END,
                    format('129{b}{{}}{c}1.0', 3864880 + h % 8)
                ]
                || CASE WHEN h % 100 >= 13 THEN [
                    format('121{b}{{}}{c}1.0', 3438660 + h % 98),
                    format('122{b}{{}}{c}1.0', 3438757 + h % 14),
                    format('124{b}{{}}{c}1.0', 3438768 + h % 3),
                    format('125{b}{{}}{c}1.0', 3438771 + h % 8),
                    format('127{b}{{}}{c}1.0', 3438780 + h % 4),
                    format('128{b}{{}}{c}1.0', 3864884 + h % 3)
                ] ELSE [] END
                || CASE WHEN h % 100 >= 59 THEN [format('126{b}{{}}{c}1.0', 3438776 + h % 5)] ELSE [] END,
                lambda feature: feature IS NOT NULL
            ) AS profile,
            {lists}
        FROM drawn
    ),
    rows AS (
        SELECT n, CASE WHEN h % 2 = 0 THEN profile || listed ELSE listed || profile END AS items FROM features
    )
    SELECT format('{{:016x}},{{}},', hash(n, 'index'), len(items)) || array_to_string(items, chr(1)) FROM rows
) TO '{path}' (FORMAT csv, HEADER false, QUOTE '', DELIMITER '|')
"""

# A list: ids spread over the field's range by a stride, weights the logarithms of counts as published.
_LIST = """[
    format('{field}{{}}{{}}{{}}{{:.5f}}', chr(2), {low} + (h % 1000003 + i * 7919 * {stride}) % {size}, chr(3),
           ln(2 + (hash(h, i) % 1000) // (1 + hash(i, h) % 500)))
    for i in range(CAST(listed * {share} AS INTEGER))
]"""
_LISTS = (("109_14", 446000, 5900, 0.12, 1), ("110_14", 455000, 2900000, 0.36, 3), ("127_14", 3438800, 420000, 0.24, 1))
_LISTS = (*_LISTS, ("150_14", 3864900, 105000, 0.28, 1))

# One skeleton row: an item with its category, shop and brand, what the user intends (several values), and combinations
# with the user's history where there is one. Every third row has its features in another order.
_SKELETON = """
COPY (
    WITH drawn AS (
        SELECT
            n, hash(n, {seed}) AS h, hash(n // {rows_per_common}, 'index') AS common_index,
            1 + hash(n // {rows_per_common}, {seed}, 'user') % {users} AS user,
            profile(user) AS p,
            -- A few items have most of the impressions.
            CAST(floor(pow((hash(n, {seed}, 'item') % 1000003) / 1000003.0, 3) * {items}) AS BIGINT) AS item
        FROM range({rows}) AS numbers(n)
    ),
    logits AS (
        SELECT
            *,
            {click_spread} * (
                0.5 * effect(hash(user, 'taste')) + 0.5 * effect(hash(item, 'appeal'))
                + 0.7071 * effect(hash(item % 6929, p % 14, 'fit'))
            ) AS click_logit,
            {conversion_spread} * (
                0.6 * click_logit / {click_spread} + 0.5 * effect(hash(p % 98, 'means'))
                + 0.45 * effect(hash(p % 8, 'age')) + 0.44 * effect(hash(p % 4, 'consumption'))
            ) AS conversion_logit
        FROM drawn
    ),
    labels AS (
        SELECT
            *,
            CAST(uniform(hash(n, {seed}, 'click')) < logistic({click_level} + click_logit) AS INTEGER) AS click,
            click * CAST(
                uniform(hash(n, {seed}, 'conversion')) < logistic({conversion_level} + conversion_logit) AS INTEGER
            ) AS conversion
        FROM logits
    ),
    features AS (
        SELECT
            n, h, common_index, click, conversion,
            list_filter(
                [
                    format('205{b}{{}}{c}1.0', 4330000 + item),
                    format('206{b}{{}}{c}1.0', 9300000 + item % 6929),
                    format('207{b}{{}}{c}1.0', 9350000 + item % 263942),
                    CASE WHEN item % 1000 >= 274 THEN format('216{b}{{}}{c}1.0', 9160000 + item % 106399) END,
                    format('301{b}{{}}{c}1.0', 9351660 + h % 3),
                    format('508{b}{{}}{c}{{:.5f}}', 9090000 + h % 5888, ln(2 + h % 40)),
                    CASE WHEN h % 100 < 26 THEN format('509{b}{{}}{c}0.69315', 9100000 + h % 104830) END,
                    CASE WHEN h % 100 < 26 THEN format('702{b}{{}}{c}1.09861', 9300000 + h % 51878) END,
                    CASE WHEN h % 100 < 45 THEN format('853{b}{{}}{c}0.69315', 9400000 + h % 37148) END
                ]
                || [
                    format('210{b}{{}}{c}1.0', 9040000 + (h % 90001 + i * 769) % 90001)
                    for i in range(CAST(14 + h % 10 AS BIGINT))
                ],
                lambda feature: feature IS NOT NULL
            ) AS listed
        FROM labels
    ),
    rows AS (
        SELECT
            n, click, conversion, common_index,
            CASE WHEN h % 3 = 0 THEN listed[5:] || listed[:4] ELSE listed END AS items
        FROM features
    )
    SELECT
        format(
            '{{}},{{}},{{}},{{:016x}},{{}},', n + 1, click, conversion, common_index, len(items)
        ) || array_to_string(items, chr(1))
    FROM rows
) TO '{path}' (FORMAT csv, HEADER false, QUOTE '', DELIMITER '|')
"""


# Functions of a hash: a number in (0, 1), and one that is distributed normally (Box and Muller 1958).
_FUNCTIONS = """
CREATE MACRO uniform(h) AS ((h % 1000003) + 0.5) / 1000003.0;
CREATE MACRO effect(h) AS sqrt(-2 * ln(uniform(h))) * cos(2 * pi() * uniform(hash(h)));
CREATE MACRO logistic(x) AS 1 / (1 + exp(-x));
CREATE MACRO profile(user_id) AS hash(user_id, 'profile');
"""


def level(rate: float, spread: float) -> float:
    """The constant of a logit, normal with this spread around it, whose probabilities have the mean `rate`."""
    points = [NormalDist().inv_cdf((part + 0.5) / 2000) * spread for part in range(2000)]
    low, high = -30.0, 30.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        mean = sum(1 / (1 + math.exp(-middle - point)) for point in points) / len(points)
        low, high = (middle, high) if mean < rate else (low, middle)
    return low


def write_ali_ccp(folder: Path, *, rows: int, test_rows: int, seed: int = 1) -> None:
    """Write the four files below `folder`: `rows` skeleton rows for training, `test_rows` for the test."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute("SET memory_limit = '2GB'")
        connection.execute(_FUNCTIONS)
        items, users = max(1000, min(467298, rows // 20)), max(1, -(-rows // ROWS_PER_COMMON) * 98 // 100)
        # Whoever clicks has a click logit above the mean, and so a conversion logit above it.
        lift = CONVERSION_SPREAD * 0.6 * CLICK_SPREAD
        labels = {
            "click_spread": CLICK_SPREAD,
            "conversion_spread": CONVERSION_SPREAD,
            "click_level": level(CLICK_RATE, CLICK_SPREAD),
            "conversion_level": level(CONVERSION_RATE, CONVERSION_SPREAD) - lift,
        }
        for part, length, part_seed in (("train", rows, seed), ("test", test_rows, seed + 1)):
            common = -(-length // ROWS_PER_COMMON)
            marks = {"seed": str(part_seed), "b": "\x02", "c": "\x03"}
            lists = " || ".join(
                _LIST.format(field=field, low=low, size=size, share=share, stride=stride)
                for field, low, size, share, stride in _LISTS
            )
            path = folder / f"common_features_{part}.csv"
            connection.execute(_COMMON.format(path=path, rows=common, users=users, lists=f"{lists} AS listed", **marks))
            path = folder / f"sample_skeleton_{part}.csv"
            connection.execute(
                _SKELETON.format(
                    path=path, rows=length, rows_per_common=ROWS_PER_COMMON, items=items, users=users, **labels, **marks
                )
            )


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000, help="skeleton rows of the train file")
    parser.add_argument("--test-rows", type=int, help="skeleton rows of the test file; a seventh of the train file's")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    test_rows = arguments.rows // 7 if arguments.test_rows is None else arguments.test_rows
    write_ali_ccp(arguments.folder, rows=arguments.rows, test_rows=test_rows, seed=arguments.seed)


if __name__ == "__main__":
    main()
