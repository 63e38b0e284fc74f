"""Makes the synthetic log's raw files exist and describes them as streams; their content is `ml.data.synthetic`'s."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from ml.data.source_spec import ClickTable, ConversionTable, EventStreams, ImpressionTable
from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.feed import ensure_days, feed_folder, lookback_days


def generate_streams(*, config: SyntheticConfig, days: Sequence[date], first: date, root: Path) -> EventStreams:
    """Generate the raw files that `days` need (events of earlier days arrive late) and describe them as streams.

    The log begins on `first`; nothing earlier is generated. Days already generated are left as they are.
    """
    earliest = max(first, min(days) - timedelta(days=lookback_days(config)))
    span = (max(days) - earliest).days + 1
    ensure_days(config=config, days=[earliest + timedelta(days=offset) for offset in range(span)], root=root)
    return streams(config=config, root=root)


def streams(*, config: SyntheticConfig, root: Path) -> EventStreams:
    """The generated raw files as event streams."""
    folder = feed_folder(config=config, root=root)
    return EventStreams(
        kind="event_streams",
        impressions=ImpressionTable(
            path=f"{folder}/impressions/day={{day}}/*.parquet",
            format="parquet",
            time="impression_time",
            impression_id="impression_id",
        ),
        clicks=ClickTable(
            path=f"{folder}/clicks/day={{day}}/*.parquet",
            format="parquet",
            time="click_time",
            click_id="click_id",
            impression_id="impression_id",
        ),
        conversions=ConversionTable(
            path=f"{folder}/conversions/day={{day}}/*.parquet",
            format="parquet",
            time="conversion_time",
            refers_to="click_id",
            click_id="click_id",
            value="value",
            order_id="order_id",
        ),
    )


def truth_file(*, config: SyntheticConfig, root: Path, day: date) -> Path:
    """The true probabilities of a generated day's impressions; they lie beside the log, never in it.

    The day is generated where this machine has not seen it: the same settings give the same day everywhere.
    """
    ensure_days(config=config, days=[day], root=root)
    return feed_folder(config=config, root=root) / "truth" / f"day={day.isoformat()}" / "truth.parquet"
