"""Credits each click to an impression and each conversion to a click, once, on the day it happened, looking back only.

Because an event is credited on its own day, no later re-run can credit it a second time, and no sample ever sees an
event that a later, nearer touch had taken. Assembling samples from the credits belongs to `ml.data.samples`.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from ml.data.dataset import DatasetSpec, EventStreams
from ml.data.engine import connect, literal, parquet, statement
from ml.data.source_spec import ClickTable

#: Days beyond the attribution windows in which a reference is still looked up: what is found there is late, what is
#: not found is an orphan. A week tells a long tail from a broken join.
LATE_GRACE_DAYS = 7


def touch_lookback(spec: DatasetSpec) -> int:
    """Days before a click's day whose impressions it may name."""
    return spec.click_days


def credit_lookback(spec: DatasetSpec) -> int:
    """Days before a conversion's day whose clicks it may name."""
    return spec.label_days + LATE_GRACE_DAYS


def lookback(day: date, days: int) -> list[date]:
    """`day` and the `days` before it, oldest first."""
    return [day - timedelta(days=offset) for offset in range(days, -1, -1)]


def resolve_touches(
    *, spec: DatasetSpec, clicks: Path | None, impressions: Sequence[Path], scratch: Path, out: Path
) -> int:
    """Write the touches of one day (each click with its impression or NULL) to `out`; returns their number.

    `impressions` are the landed impressions of the day and of the `touch_lookback` days before it. Where clicks are
    implied, `clicks` is None and every impression of the day is its own click.
    """
    window = str(spec.attribution.click_window_seconds * 1_000_000)
    shown = parquet(list(impressions))
    click_table = _click_table(spec)
    if click_table is None:
        text = statement("touches_implied", impressions=shown)
    else:
        assert clicks is not None
        name = "touches_by_impression" if click_table.refers_to == "impression_id" else "touches_by_time"
        text = statement(name, clicks=parquet([clicks]), impressions=shown, window_us=window)
    return _write(text, scratch=scratch, out=out)


def credit_conversions(
    *,
    spec: DatasetSpec,
    conversions: Path,
    touches: Sequence[Path],
    impressions: Sequence[Path],
    scratch: Path,
    out: Path,
) -> int:
    """Write the conversions of one day, each with the impression it is credited to or NULL, to `out`.

    `touches` and `impressions` are those of the day and of the `credit_lookback` days before it.
    """
    assert isinstance(spec.source, EventStreams) or spec.source.kind == "synthetic"
    refers_to = spec.source.conversions.refers_to if isinstance(spec.source, EventStreams) else "click_id"
    window = str(spec.attribution.conversion_window_seconds * 1_000_000)
    parts = {"conversions": parquet([conversions]), "touches": parquet(list(touches)), "window_us": window}
    if refers_to == "impression_id":
        text = statement("credits_by_impression", impressions=parquet(list(impressions)), **parts)
    else:
        text = statement("credits_by_click" if refers_to == "click_id" else "credits_by_time", **parts)
    return _write(text, scratch=scratch, out=out)


def _click_table(spec: DatasetSpec) -> ClickTable | None:
    if isinstance(spec.source, EventStreams):
        return None if spec.source.clicks == "implied" else spec.source.clicks
    # The synthetic log's clicks name their impression.
    return ClickTable(path="-", format="parquet", time="click_time", impression_id="impression_id")


def _write(text: str, *, scratch: Path, out: Path) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    with connect(scratch=scratch) as connection:
        connection.execute(f"COPY ({text}) TO {literal(str(out))} (FORMAT parquet, COMPRESSION zstd)")
        row = connection.execute(f"SELECT count(*) FROM read_parquet({literal(str(out))})").fetchone()
    assert row is not None
    return int(row[0])
