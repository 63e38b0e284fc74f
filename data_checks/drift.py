"""How far a day's fields lie from the trailing days', by their profiles: PSI and new ids; no bound is known here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np

from data_checks.profile import HASH_BUCKETS, FieldProfile, number_at, read_profile, values_of
from ml.data.dataset import DatasetSpec, FieldSpec

#: A field of few values is compared value by value; of more, by buckets of a hash.
_FEW_VALUES = 50
_NUMBER_BUCKETS = 10
#: What an empty bucket counts as: the usual practice, and a PSI that one strange row among thousands cannot make.
_LEAST_SHARE = 1e-4
#: A field almost all of whose values are new every day, such as a session id, has none that could be missed.
_ALWAYS_NEW = 0.99
DRIFT_CONSTANTS = (_FEW_VALUES, _NUMBER_BUCKETS, _LEAST_SHARE, _ALWAYS_NEW, HASH_BUCKETS)


@dataclass(frozen=True, kw_only=True)
class FieldDrift:
    """One field of the day against the trailing days; None where it could not be compared.

    `usual_…` is the median over the trailing days of what each of them would have had against the others.
    """

    field: str
    psi: float | None = None
    usual_psi: float | None = None
    new_share: float | None = None
    usual_new_share: float | None = None
    moved: str = ""

    @property
    def psi_beyond_usual(self) -> float | None:
        """PSI above what two usual days differ by: a weekday field differs much every day, and means nothing by it."""
        return None if self.psi is None or self.usual_psi is None else self.psi - self.usual_psi

    @property
    def strangers(self) -> float | None:
        """Of the rows that usually have a known value, the share that has a new one: (new − usual) / (1 − usual)."""
        if self.new_share is None or self.usual_new_share is None or self.usual_new_share > _ALWAYS_NEW:
            return None
        return (self.new_share - self.usual_new_share) / (1 - self.usual_new_share)


def psi(day: np.ndarray, reference: np.ndarray) -> float:
    """Population stability index of two counts over the same buckets: Σ (p − q) · ln(p / q), p and q their shares.

    It is the sum of both Kullback–Leibler divergences (Jeffreys 1946), in use for scorecards since Lewis 1994 and
    Siddiqi 2006. A bucket that one of both does not have counts as a share of 0.0001.
    """
    p, q = (np.maximum(counts / counts.sum(), _LEAST_SHARE) for counts in (day, reference))
    return float(np.sum((p - q) * np.log(p / q)))


def field_drifts(
    *, spec: DatasetSpec, profile: Path, past: Mapping[date, Path]
) -> tuple[dict[str, FieldProfile], dict[str, list[FieldProfile]], list[FieldDrift]]:
    """The day's profile by field, the trailing days' (`past`) that have enough rows of it, and their distance."""
    today = dict(read_profile(profile))
    stored = [read_profile(past[day]) for day in sorted(past)]
    usable: dict[str, list[FieldProfile]] = {}
    drifts = []
    for field in spec.fields:
        known = [other[field.name] for other in stored if field.name in other]
        usable[field.name] = [
            other for other in known if other.total >= spec.validation.drift_min_rows and _same_kind(other, field)
        ]
        if not spec.validation.of_field(field.name).drifts and field.name in today:
            drifts.append(_field_drift(spec, field, today[field.name], usable[field.name], profile))
    return today, usable, drifts


def _field_drift(
    spec: DatasetSpec, field: FieldSpec, today: FieldProfile, past: Sequence[FieldProfile], path: Path
) -> FieldDrift:
    policy = spec.validation
    if len(past) < policy.drift_min_history or today.total < policy.drift_min_rows or not _same_kind(today, field):
        return FieldDrift(field=field.name)
    counts = _number_counts([today, *past]) if field.kind == "number" else _value_counts([today, *past])
    pool = counts[1:].sum(axis=0)
    shift = psi(counts[0], pool)
    new, usual_new = (None, None) if field.kind in ("number", "sequence") else _new_shares(today, past)
    return FieldDrift(
        field=field.name,
        psi=shift,
        usual_psi=median(psi(row, pool - row) for row in counts[1:]),
        new_share=new,
        usual_new_share=usual_new,
        moved=_moved(field, today, past, path) if shift > policy.psi_warn else "",
    )


def _same_kind(profile: FieldProfile, field: FieldSpec) -> bool:
    return not len(profile.keys) or profile.number == (field.kind == "number")


def _value_counts(days: Sequence[FieldProfile]) -> np.ndarray:
    """Rows by bucket, a row a day: one bucket for missing values, then one a value, or one a hash where many are."""
    keys = np.unique(np.concatenate([day.keys for day in days]))
    if len(keys) <= _FEW_VALUES and not any(day.rest.any() for day in days):
        counts = [np.bincount(np.searchsorted(keys, day.keys), day.rows, len(keys)) for day in days]
    else:
        counts = [np.bincount(day.keys % HASH_BUCKETS, day.rows, HASH_BUCKETS) + day.rest for day in days]
    return np.array([[day.missing, *known] for day, known in zip(days, counts, strict=True)])


def _number_counts(days: Sequence[FieldProfile]) -> np.ndarray:
    """Rows by bucket, a row a day: one for missing values, then the tenths of the trailing days' numbers."""
    keys = np.concatenate([day.keys for day in days[1:]])
    order = np.argsort(keys, kind="stable")
    up_to = np.cumsum(np.concatenate([day.rows for day in days[1:]])[order])
    total = up_to[-1] if len(up_to) else 0
    places = np.searchsorted(up_to, total * np.arange(1, _NUMBER_BUCKETS) / _NUMBER_BUCKETS)
    edges = np.unique(keys[order][places]) if total else np.empty(0, np.int64)
    counts = [np.bincount(np.searchsorted(edges, day.keys), day.rows, len(edges) + 1) for day in days]
    return np.array([[day.missing, *known] for day, known in zip(days, counts, strict=True)])


def _new_shares(today: FieldProfile, past: Sequence[FieldProfile]) -> tuple[float | None, float | None]:
    """The share of the day's rows whose value no trailing day has, and the median of what each of these has against the
    others; of ids that all days keep."""
    step = max(day.step for day in (today, *past))
    kept = [((day.keys >> 8) % step == 0) for day in (today, *past)]
    (keys, rows), *others = [(day.keys[at], day.rows[at]) for day, at in zip((today, *past), kept, strict=True)]
    if not rows.sum() or not all(counts.sum() for _, counts in others):
        return None, None
    known, on_days = np.unique(np.concatenate([other for other, _ in others]), return_counts=True)
    once = known[on_days == 1]
    usual = median(float(counts[np.isin(other, once)].sum() / counts.sum()) for other, counts in others)
    return float(rows[~np.isin(keys, known)].sum() / rows.sum()), usual


def _moved(field: FieldSpec, today: FieldProfile, past: Sequence[FieldProfile], path: Path) -> str:
    """What changed most, in words."""
    missing = sum(day.missing for day in past) / sum(day.total for day in past)
    if abs(today.missing_share - missing) > 0.1:
        return f"missing {missing:.1%} → {today.missing_share:.1%}"
    if field.kind == "number":
        before = FieldProfile(
            number=True,
            keys=np.concatenate([day.keys for day in past]),
            rows=np.concatenate([day.rows for day in past]),
            rest=today.rest,
            missing=0,
            step=1,
        )
        return f"median {_median(before):.4g} → {_median(today):.4g}"
    names, total = values_of(path, field.name), sum(day.total for day in past)
    shares = {key: int(rows) / today.total for key, rows in zip(today.keys.tolist(), today.rows, strict=True)}
    earlier = dict.fromkeys(shares, 0.0)
    for day in past:
        for key, rows in zip(day.keys.tolist(), day.rows, strict=True):
            if key in earlier:
                earlier[key] += int(rows) / total
    if not shares:
        return ""
    most = max(shares, key=lambda key: abs(shares[key] - earlier[key]))
    return f"{names[most][:60]!r} {earlier[most]:.1%} → {shares[most]:.1%}"


def _median(day: FieldProfile) -> float:
    order = np.argsort(day.keys, kind="stable")
    up_to = np.cumsum(day.rows[order])
    return number_at(int(day.keys[order][np.searchsorted(up_to, up_to[-1] / 2)])) if len(up_to) else float("nan")
