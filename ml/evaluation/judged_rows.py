"""Reads predictions and true probabilities from Parquet into one order of rows; it computes no metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml.evaluation.evaluated_day import TASKS, Task
from ml.evaluation.metrics import FloatArray

PREDICTION_COLUMNS = ("impression_id", "unit_key", "click", "conversion", "p_ctr", "p_cvr", "p_ctcvr")
# Of models that predict an order's value: E[v | conversion] and E[v] of the impression, in the log's currency.
VALUE_COLUMNS = ("value", "value_given_conversion", "expected_value")
UNCALIBRATED_COLUMNS: dict[Task, str] = {"cvr": "p_cvr_uncalibrated", "ctcvr": "p_ctcvr_uncalibrated"}
TRUTH_COLUMNS = ("impression_id", "p_click", "p_conversion")
_SHOWN = 3


class JudgedRowsMismatch(ValueError):
    """Files that do not hold the same judged rows, or hold a row twice."""


@dataclass(frozen=True)
class JudgedRows:
    """A day's rows by ascending impression_id: labels uint8 [n], unit codes int64 [n], probabilities float64 [n].

    `position` [n] is each row's place in the file, which is its place in the day's samples. `values` holds the columns
    of VALUE_COLUMNS, float64 [n], where the model predicts values, and nothing otherwise; an observed value that is
    absent is 0. `uncalibrated`: p_cvr and p_ctcvr before calibration, float64 [n] by task, where the file has them.
    """

    impression_id: pd.Series
    units: NDArray[np.int64]
    click: NDArray[np.uint8]
    conversion: NDArray[np.uint8]
    probabilities: Mapping[Task, FloatArray]
    position: NDArray[np.int64]
    values: Mapping[str, FloatArray]
    uncalibrated: Mapping[Task, FloatArray] = field(default_factory=dict)

    def chosen(self, task: Task) -> NDArray[np.bool_]:
        """The rows of the task's population, bool [n]: clicked impressions for CVR, all impressions otherwise."""
        return self.click == 1 if task == "cvr" else np.ones(self.click.size, dtype=bool)

    def labels(self, task: Task) -> NDArray[np.uint8]:
        """The task's labels over all rows, uint8 [n]."""
        return self.click if task == "ctr" else self.conversion


def read_predictions(path: Path) -> JudgedRows:
    """Rows of predictions.parquet in order of impression_id.

    A row without a unit_key is a unit of its own. Raises JudgedRowsMismatch for repeated or absent ids and for labels
    that are not 0 or 1 (also a conversion without a click): the judged samples were not validated ones.
    """
    present = set(pq.read_schema(path).names)
    value_columns = VALUE_COLUMNS if set(VALUE_COLUMNS) <= present else ()
    uncalibrated = UNCALIBRATED_COLUMNS if set(UNCALIBRATED_COLUMNS.values()) <= present else {}
    frame = _sorted_frame(path, (*PREDICTION_COLUMNS, *value_columns, *uncalibrated.values()))
    click, conversion = _labels(frame, "click", path), _labels(frame, "conversion", path)
    if orphans := int(np.count_nonzero(conversion > click)):
        raise JudgedRowsMismatch(
            f"{path}: {orphans:,} of {len(frame):,} rows convert without a click; score validated samples"
        )
    units, known = pd.factorize(frame["unit_key"])
    alone = units < 0
    units[alone] = len(known) + np.arange(np.count_nonzero(alone))
    return JudgedRows(
        impression_id=frame["impression_id"].reset_index(drop=True),
        units=units.astype(np.int64),
        click=click,
        conversion=conversion,
        probabilities={task: frame[f"p_{task}"].to_numpy(dtype=np.float64, na_value=np.nan) for task in TASKS},
        position=frame.index.to_numpy(dtype=np.int64),
        values={
            name: frame[name].to_numpy(dtype=np.float64, na_value=0.0 if name == "value" else np.nan)
            for name in value_columns
        },
        uncalibrated={
            task: frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for task, name in uncalibrated.items()
        },
    )


def require_same_rows(*, challenger: JudgedRows, champion: JudgedRows) -> None:
    """Raises JudgedRowsMismatch, with counts, unless both models scored the same impressions with the same labels."""
    ours, theirs = challenger.impression_id, champion.impression_id
    if not ours.equals(theirs):
        only_ours, only_theirs = int((~ours.isin(theirs)).sum()), int((~theirs.isin(ours)).sum())
        raise JudgedRowsMismatch(
            f"the challenger scored {len(ours):,} rows and the champion {len(theirs):,}: {only_ours:,} only the "
            f"challenger, {only_theirs:,} only the champion; score both on the same validated samples"
        )
    changed = (challenger.click != champion.click) | (challenger.conversion != champion.conversion)
    if relabelled := int(np.count_nonzero(changed)):
        raise JudgedRowsMismatch(
            f"{relabelled:,} of {len(ours):,} rows have other labels in the champion's predictions: the day was "
            "restated between the two; score the champion again"
        )


def read_truth(path: Path, *, rows: JudgedRows) -> dict[Task, FloatArray]:
    """True probabilities of the judged rows by task, each float64 [n] in the rows' order.

    truth.parquet holds P(click) and P(conversion | click); quarantined rows may be there too. Raises JudgedRowsMismatch
    where a judged row has no truth.
    """
    truth = _sorted_frame(path, TRUTH_COLUMNS).set_index("impression_id").reindex(pd.Index(rows.impression_id))
    click, conversion = (truth[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in TRUTH_COLUMNS[1:])
    if absent := int(np.count_nonzero(np.isnan(click) | np.isnan(conversion))):
        raise JudgedRowsMismatch(
            f"{path}: {absent:,} of {len(truth):,} judged rows have no true probability; generate the day again"
        )
    return {"ctr": click, "cvr": conversion, "ctcvr": click * conversion}


def _sorted_frame(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    lacking = set(columns) - set(pq.read_schema(path).names)
    if lacking:
        raise JudgedRowsMismatch(f"{path} lacks the columns {', '.join(sorted(lacking))}; write it with them")
    frame = pd.read_parquet(path, columns=list(columns)).sort_values("impression_id")
    ids = frame["impression_id"]
    if nameless := int(ids.isna().sum()):
        raise JudgedRowsMismatch(f"{path}: {nameless:,} of {len(ids):,} rows have no impression_id; validate the day")
    repeated = ids[ids.duplicated()]
    if len(repeated):
        examples = ", ".join(repeated.head(_SHOWN).astype(str))
        raise JudgedRowsMismatch(
            f"{path}: {len(repeated):,} of {len(ids):,} rows repeat an impression_id, such as {examples}; "
            "validate the day"
        )
    return frame


def _labels(frame: pd.DataFrame, name: str, path: Path) -> NDArray[np.uint8]:
    wrong = int((~frame[name].isin([0, 1])).sum())
    if wrong:
        raise JudgedRowsMismatch(f"{path}: {wrong:,} of {len(frame):,} rows have a {name} that is not 0 or 1")
    return frame[name].to_numpy(dtype=np.uint8)
