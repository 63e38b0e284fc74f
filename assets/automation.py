"""When a day of samples is made again without anyone asking: an input was restated while labels may still change."""

from datetime import timedelta

import dagster as dg

from ml.data.dataset import DatasetSpec

#: A restated day is noticed this many days beyond its labels' maturity; later, someone has to ask for it.
GRACE_DAYS = 4


def restated_day_condition(spec: DatasetSpec) -> dg.AutomationCondition:
    """Ask for a recent day again when what it rests on was materialized anew.

    `raw_conversions` are left out: a day's labels rest on the conversions of the label_days after it, so that every
    arriving day would ask for all of them again, every night; the schedule's second key takes them in once, when they
    are final. `eager()` would look at the newest day alone. Days older than label_days + GRACE_DAYS stay as they are.
    """
    days = timedelta(days=spec.label_days + GRACE_DAYS)
    updated = dg.AutomationCondition.any_deps_updated().ignore(dg.AssetSelection.assets("raw_conversions"))
    return (
        dg.AutomationCondition.in_latest_time_window(days)
        & (updated | dg.AutomationCondition.missing()).since_last_handled()
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ).with_label("restated_day")
