"""Ali-CCP's raw files through the data assets: every row of every pseudo-day is admitted or says why it is not."""

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from assets.resources import Platform
from data_checks.receipts import Receipt
from tests.ml.data.sources.ali_ccp.published_files import FIRST, common, item, make_spec, sample, write_part

DAYS = [FIRST + timedelta(days=n) for n in range(4)]
UNREADABLE, WITHOUT_CLICK = "schema.value_unreadable", "label_consistency.conversion_without_click"


def commons() -> list[str]:
    """Users 0..19, each under two indexes, and an index that stands twice."""
    rows = [
        common(f"{'ab'[n // 20]}{n % 20}", [item("150_14", n, 1.5), item(101, f"u{n % 20}"), item(124, n % 3)])
        for n in range(40)
    ]
    return [*rows, common("twice", [item(101, "u1")]), common("twice", [item(101, "u2")])]


def samples(rows: int) -> list[str]:
    """Mostly sound samples; the last five of the file are each wrong in another way."""
    sound = [
        sample(n, f"{'ab'[n % 2]}{n % 20}", [item(205, n % 7), item(210, n % 3), item(216, 1)], click=int(n % 4 == 0))
        for n in range(1, rows - 4)
    ]
    features = [item(205, 1)]
    return [
        *sound,
        sample(rows - 4, "a1", features, count=9),
        sample(rows - 3, "missing", features),
        sample(rows - 2, "twice", features),
        sample(rows - 1, "a2", features, bought=1),
        sample(rows, "a3", [item(216, 1)], click=1, bought=1),
    ]


def test_every_row_of_every_day_is_admitted_or_quarantined(
    tmp_path: Path,
    platform: Platform,
    instance: dg.DagsterInstance,
    run_data: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    write_part(tmp_path, samples(120), commons())
    write_part(tmp_path, samples(90), commons(), part="test")
    spec = make_spec(tmp_path, days=3, validation={"max_bad_share": 0.2})
    result = run_data(platform, instance, spec, DAYS[0], DAYS[-1])
    assert result.success
    rows = {day: read(platform, day) for day in DAYS}
    assert [(len(admitted), len(quarantined)) for admitted, quarantined, _ in rows.values()] == [
        (40, 0),
        (40, 0),
        (35, 5),
        (85, 5),
    ]
    for admitted, quarantined, receipt in rows.values():
        assert (receipt.rows_in, receipt.admitted, receipt.quarantined) == (
            len(admitted) + len(quarantined),
            len(admitted),
            len(quarantined),
        )
        assert receipt.verdict == "admitted"
        assert all(row["mature"] for row in admitted)
    for day, last in ((DAYS[2], 120), (DAYS[3], 90)):
        _, quarantined, _ = rows[day]
        why = {row["source_line"]: (row["rule_ids"], row["unparsed_columns"]) for row in quarantined}
        part = "train" if day == DAYS[2] else "test"
        assert why[last - 4] == ([UNREADABLE], ["feature_count=9, 1 found"])
        unknown = f"common_feature_index=missing, not in common_features_{part}.csv"
        assert UNREADABLE in why[last - 3][0]
        assert why[last - 3][1] == [unknown]
        assert why[last - 2][1] == [f"common_feature_index=twice, 2 rows of common_features_{part}.csv"]
        assert why[last - 1] == ([WITHOUT_CLICK], [])
        assert why[last][1] == []
        assert Counter(rule for rules, _ in why.values() for rule in rules)[UNREADABLE] == 3
    first = rows[DAYS[0]][0][0]
    assert (first["user"], first["brands"], first["brands_weights"]) == ("u1", ["21"], [1.5])


def read(platform: Platform, day: date) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Receipt]:
    """The admitted and the quarantined rows of a day, and its receipt."""
    validated = platform.artifacts.open(f"validated_samples/{day.isoformat()}")
    quarantined = platform.artifacts.open(f"quarantined_samples/{day.isoformat()}")
    receipt = Receipt.model_validate_json(validated.path("receipt.json").read_bytes())
    files = (validated.path("samples.parquet"), quarantined.path("rows.parquet"))
    admitted, rejected = (pq.ParquetFile(file).read().to_pylist() for file in files)
    return admitted, rejected, receipt
