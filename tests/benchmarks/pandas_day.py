"""A day joined, judged and split in plain pandas, and held against what the chain itself has written of it."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from data_checks.catalog import RULES
from data_checks.receipts import Receipt
from ml.data.samples import label_horizon
from tests.benchmarks.pandas_join import joined_samples
from tests.benchmarks.pandas_rules import rule_masks
from tests.benchmarks.raw_days import DAY, DAYS, RawDays


def join_in_pandas(raw: RawDays) -> pd.DataFrame:
    """The day's joined samples."""
    spec = raw.spec
    return joined_samples(
        spec=spec,
        impressions=[raw.landed("impressions", day) for day in DAYS],
        clicks=raw.landed("clicks"),
        touches_before=[raw.file(f"touches-{DAYS[0]}.parquet")],
        conversions=raw.landed("conversions"),
        conversions_before=[raw.landed("conversions", DAYS[0])],
        horizon=label_horizon(spec=spec, last_observed=DAY),
    )


def validate_in_pandas(raw: RawDays, samples: pd.DataFrame) -> dict[str, np.ndarray]:
    """Split the day by all rules on rows into two Parquet files; gives the masks by rule."""
    spec = raw.spec
    applicable = {rule.id: rule for rule in RULES if rule.level == "row" and not rule.not_applicable(spec)}
    masks = {rule: mask for rule, mask in rule_masks(samples, spec=spec, day=DAY).items() if rule in applicable}
    quarantined = np.zeros(len(samples), dtype=bool)
    for rule, mask in masks.items():
        if applicable[rule].effect == "quarantine":
            quarantined |= mask
    samples[~quarantined].to_parquet(raw.file("pandas_admitted.parquet"), index=False, compression="zstd")
    bad = samples[quarantined]
    places = np.flatnonzero(quarantined)
    bad = bad.assign(rule_ids=[[rule for rule, mask in masks.items() if mask[place]] for place in places])
    bad.to_parquet(raw.file("pandas_quarantine.parquet"), index=False, compression="zstd")
    return masks


def require_agreement(raw: RawDays) -> dict[str, Any]:
    """Raise AssertionError unless both ways give the same joined rows, the same masks and the same split.

    The chain's files of the day have to be there: joined, admitted, quarantine, receipt.
    """
    samples = join_in_pandas(raw)
    masks = validate_in_pandas(raw, samples)
    samples.to_parquet(raw.file("pandas_joined.parquet"), index=False)
    for ours, theirs in (
        ("joined", "pandas_joined"),
        ("admitted", "pandas_admitted"),
        ("quarantine", "pandas_quarantine"),
    ):
        _require_same_rows(raw.file(f"{ours}.parquet"), raw.file(f"{theirs}.parquet"))
    receipt = Receipt.model_validate_json(raw.file("receipt.json").read_bytes())
    of_rows = {rule.id for rule in RULES if rule.level == "row" and not rule.not_applicable(raw.spec)}
    counted = {result.rule: result.rows for result in receipt.rules if result.rule in of_rows}
    assert counted == {rule: int(mask.sum()) for rule, mask in masks.items()}, counted
    return {"rows": len(samples), "bad_rows_by_rule": {rule: rows for rule, rows in counted.items() if rows}}


def _require_same_rows(ours: Path, theirs: Path) -> None:
    described = duckdb.execute(f"DESCRIBE SELECT * FROM '{ours}'").fetchall()
    columns = ", ".join(
        # Rules are listed in either order.
        f"list_sort({column}) AS {column}" if column == "rule_ids" else f'"{column}"::{kind} AS "{column}"'
        for column, kind, *_ in described
    )
    for one, other in ((ours, theirs), (theirs, ours)):
        extra = duckdb.execute(
            f"SELECT {columns} FROM '{one}' EXCEPT ALL SELECT {columns} FROM '{other}' LIMIT 3"
        ).fetchall()
        assert not extra, f"rows of {one.name} that {other.name} has not: {extra}"
