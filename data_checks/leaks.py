"""Features that know the label: fields called like one, and fields that alone separate one; days are not compared."""

import re

import numpy as np

from data_checks.day_sample import LABELS, DaySample
from data_checks.rules import Measure
from ml.data.dataset import DatasetSpec, FieldSpec, WideLog

#: A number that is a label by another name shows in its hundredths, however it is scaled.
_NUMBER_BUCKETS = 100
_MOST_EVIDENCE = 10
LEAK_CONSTANTS = (_NUMBER_BUCKETS,)


def label_names(spec: DatasetSpec) -> Measure:
    """How many fields are called like a label: by `validation.label_name`, or read from a column of the log's labels.

    Derived fields have names of their own choice and are made from the past alone; those that the spec says resemble
    a label are known.
    """
    pattern = re.compile(spec.validation.label_name, re.IGNORECASE)
    labels = _label_columns(spec)
    named = [
        field
        for field in spec.logged_fields
        if not spec.validation.of_field(field.name).resembles_label
        and (field.source_column in labels or any(pattern.fullmatch(n) for n in (field.name, field.source_column)))
    ]
    evidence = tuple({"field": field.name, "column": field.source_column} for field in named[:_MOST_EVIDENCE])
    return Measure(value=float(len(named)), bound=0.0, evidence=evidence)


def field_auc(*, spec: DatasetSpec, sample: DaySample) -> Measure:
    """The largest AUC by which a single field separates a label, among the day's sampled rows.

    A field's values (numbers: hundredths of their quantiles; sequences: the newest value; none is a value too) are
    encoded by their rate of positives in one half of the rows, and that encoding ranks the other half: a value that
    does not come again, such as an id of the row, knows nothing there.
    """
    least = spec.validation.leak_min_events
    found, seen = [], []
    for label in LABELS:
        target = sample.labels(label)
        rows = np.flatnonzero(target >= 0)
        first, positive = sample.first_half[rows], target[rows] == 1
        rarest = min(np.bincount(2 * first + positive, minlength=4).tolist())
        seen.append(f"{label} {rarest}")
        if rarest < least:
            continue
        for field in spec.fields:
            if not spec.validation.of_field(field.name).resembles_label:
                codes = _codes(sample, field, rows=rows, fitted_on=first)
                found.append((encoded_auc(codes, positive, first), field.name, label))
    if not found:
        return Measure(
            why=f"rows of the rarer kind in a half of the day: {', '.join(seen)}; {least} are needed "
            "(validation.leak_min_events)"
        )
    found.sort(key=lambda entry: (-entry[0], entry[1:]))
    shown = [entry for entry in found if entry[0] > spec.validation.max_field_auc] or found[:1]
    evidence = tuple(
        {"field": name, "label": label, "auc": f"{auc:.4f}"} for auc, name, label in shown[:_MOST_EVIDENCE]
    )
    return Measure(value=found[0][0], evidence=evidence)


def encoded_auc(codes: np.ndarray, positive: np.ndarray, first: np.ndarray) -> float:
    """AUC of the target-rate encoding of `codes` (int, ≥ −1) fitted on the rows of `first`, over the other rows.

    `positive` and `first` are bool. A value's rate counts one row of the overall rate beside its own; a value that the
    first half does not have gets the overall rate. Rows of equal rate are worth one half.
    """
    size = int(codes.max(initial=-1)) + 2
    counts = np.bincount(4 * (codes.astype(np.int64) + 1) + 2 * first + positive, minlength=4 * size).reshape(size, 4)
    scored_negatives, scored_positives, negatives, positives = counts.T
    overall = positives.sum() / (positives.sum() + negatives.sum())
    rate = (positives + overall) / (positives + negatives + 1)
    _, rank = np.unique(rate, return_inverse=True)
    above, below = (np.bincount(rank, many) for many in (scored_positives, scored_negatives))
    lower = np.cumsum(below) - below
    return float(np.sum(above * (lower + below / 2)) / (above.sum() * below.sum()))


def _codes(sample: DaySample, field: FieldSpec, *, rows: np.ndarray, fitted_on: np.ndarray) -> np.ndarray:
    """The place of each of the `rows` among the field's values, −1 where there is none."""
    if field.kind != "number":
        return sample.texts(field.name)[1][rows]
    numbers = sample.numbers(field.name)[rows]
    known = np.isfinite(numbers)
    shares = np.arange(1, _NUMBER_BUCKETS) / _NUMBER_BUCKETS
    fitted = numbers[known & fitted_on]
    edges = np.unique(np.quantile(fitted, shares, method="inverted_cdf")) if len(fitted) else np.empty(0)
    return np.where(known, np.searchsorted(edges, numbers), -1)


def _label_columns(spec: DatasetSpec) -> frozenset[str]:
    if not isinstance(spec.source, WideLog):
        return frozenset()
    table = spec.source.table
    named = (table.click, table.conversion, table.value, table.click_time, table.conversion_time, table.order_id)
    return frozenset(name for names in named for name in ((names,) if isinstance(names, str) else names or ()))
