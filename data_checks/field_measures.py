"""What the rules on fields judge of a day: drift beyond the usual, and lost values; distances are `drift`'s."""

from collections.abc import Mapping, Sequence
from statistics import median

from data_checks.drift import FieldDrift
from data_checks.profile import FieldProfile
from data_checks.rules import Measure
from ml.data.dataset import DatasetSpec

_MOST_EVIDENCE = 10


def drift_measures(*, spec: DatasetSpec, drifts: Sequence[FieldDrift], days: int, rows: int) -> dict[str, Measure]:
    """The measures `psi` and `new_share`: the field that lies farthest beyond the usual, by each."""
    policy = spec.validation
    why = "no field can be compared with the trailing days"
    if rows < policy.drift_min_rows:
        why = f"{rows} rows were admitted; {policy.drift_min_rows} are needed (validation.drift_min_rows)"
    elif days < policy.drift_min_history:
        why = (
            f"{days} admitted days with a profile in the {policy.drift_history_days} before; "
            f"{policy.drift_min_history} are needed (validation.drift_min_history)"
        )
    shifts = [(drift.psi_beyond_usual, drift) for drift in drifts]
    strangers = [(drift.strangers, drift) for drift in drifts]
    return {
        "psi": _worst(shifts, bound=policy.psi_warn, why=why),
        "new_share": _worst(strangers, bound=policy.new_share_warn, why=why),
    }


def null_share(
    *, spec: DatasetSpec, rows: int, today: Mapping[str, FieldProfile], past: Mapping[str, Sequence[FieldProfile]]
) -> Measure:
    """The field whose share of missing values lies farthest above its bound.

    The bound is the field's own `max_null_share`; else what is usual (the trailing days' median) and null_share_rise;
    else, without enough of them, `validation.max_null_share`. A derived field is empty while there is nothing before
    it to be derived from, and is judged by the trailing days alone.
    """
    policy = spec.validation
    if rows < policy.null_share_min_rows:
        return Measure(
            why=f"{rows} rows were admitted; {policy.null_share_min_rows} are needed (validation.null_share_min_rows)"
        )
    judged = []
    for field in spec.fields:
        shares = [profile.missing_share for profile in past.get(field.name, ())]
        own, usual = policy.of_field(field.name).max_null_share, None
        if own is not None:
            bound = own
        elif len(shares) >= policy.drift_min_history:
            usual = median(shares)
            bound = min(usual + policy.null_share_rise, 1.0)
        elif not field.derived:
            bound = policy.max_null_share
        else:
            continue
        if field.name in today:
            judged.append(
                (today[field.name].missing_share - bound, today[field.name].missing_share, bound, usual, field)
            )
    if not judged:
        return Measure(why="no field was counted")
    judged.sort(key=lambda entry: -entry[0])
    shown = [entry for entry in judged if entry[0] > 0] or judged[:1]
    evidence = tuple(
        {"field": field.name, "null_share": f"{share:.4f}", "bound": f"{bound:.4f}", "usual": _text(usual)}
        for _, share, bound, usual, field in shown[:_MOST_EVIDENCE]
    )
    _, share, bound, usual, _ = judged[0]
    return Measure(value=share, bound=bound, usual=usual, evidence=evidence)


def _worst(judged: Sequence[tuple[float | None, FieldDrift]], *, bound: float, why: str) -> Measure:
    known = sorted(((value, drift) for value, drift in judged if value is not None), key=lambda entry: -entry[0])
    if not known:
        return Measure(why=why)
    shown = [entry for entry in known if entry[0] > bound] or known[:1]
    return Measure(
        value=known[0][0],
        evidence=tuple(
            {
                "field": drift.field,
                "psi": _text(drift.psi),
                "usual_psi": _text(drift.usual_psi),
                "new_share": _text(drift.new_share),
                "usual_new_share": _text(drift.usual_new_share),
                "moved": drift.moved,
            }
            for _, drift in shown[:_MOST_EVIDENCE]
        ),
    )


def _text(number: float | None) -> str:
    return "–" if number is None else f"{number:.4f}"
