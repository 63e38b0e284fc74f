"""The jobs: data first, then models; a backfill of the whole graph at once would fan out through the windows."""

from typing import TYPE_CHECKING

import dagster as dg

from assets.partitions import DATA_GROUP, MODEL_GROUP

if TYPE_CHECKING:
    # dagster 1.13 returns this type from `define_asset_job` and does not export it.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

#: One range run of the data assets: each day with its own verdict, and a bad day stops no other.
BACKFILL_DATA = "backfill_data"
#: A run an as-of day, oldest first: each model is compared with the champion that the day before left behind.
BACKFILL_MODELS = "backfill_models"


def build_jobs() -> "list[UnresolvedAssetJobDefinition]":
    """Both jobs; schedules, the UI and the command line run these and nothing else."""
    return [
        dg.define_asset_job(
            BACKFILL_DATA,
            selection=dg.AssetSelection.groups(DATA_GROUP),
            description="Raw logs to validated samples. Backfill a range of days: it is one run.",
        ),
        dg.define_asset_job(
            BACKFILL_MODELS,
            selection=dg.AssetSelection.groups(MODEL_GROUP),
            description="Embeddings, graphs, model, report and promotion as of a day. Needs the window's receipts.",
        ),
    ]
