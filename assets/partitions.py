"""The daily partitions of a dataset and the mappings between them; reasons stand beside the constants."""

from datetime import timedelta

import dagster as dg

from ml.data.dataset import DatasetSpec

#: The pool of everything that may need the GPU: its places are the machine's cards, not its processes.
GPU_POOL = "gpu"

#: Where a day's verdict is recorded: the last of the data steps.
VERDICT_ASSET = "validated_samples"

#: Group names: the two halves of the chain are backfilled by different jobs.
DATA_GROUP = "data"
MODEL_GROUP = "models"


def daily_partitions(spec: DatasetSpec) -> dg.DailyPartitionsDefinition:
    """One partition a day of the log: the event day of data, the as-of day of models, up to a finished log's end."""
    end = None if spec.days.last is None else (spec.days.last + timedelta(days=1)).isoformat()
    return dg.DailyPartitionsDefinition(start_date=spec.days.first.isoformat(), end_date=end, timezone=spec.timezone)


def window_before(spec: DatasetSpec) -> dg.TimeWindowPartitionMapping:
    """The training window, D − window_days .. D − 1, for lineage in the UI.

    Dagster clips it silently at the start of history and runs with days that were never materialized; the window
    that is trained on is chosen, or refused, by `ml.data.window`.
    """
    return dg.TimeWindowPartitionMapping(
        start_offset=-spec.window.window_days, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )


def label_days_after(spec: DatasetSpec) -> dg.TimeWindowPartitionMapping:
    """The days in which an impression's conversions may still arrive, D .. D + W."""
    return dg.TimeWindowPartitionMapping(
        start_offset=0, end_offset=spec.label_days, allow_nonexistent_upstream_partitions=True
    )
