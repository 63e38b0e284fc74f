"""Credits each click to an impression, and what follows to a click, once, on the day it happened, looking back only.

Because an event is credited on its own day, no later re-run can credit it a second time, and no sample ever sees an
event that a later, nearer touch had taken. Assembling samples from the credits belongs to `ml.data.samples`.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from ml.data.dataset import DatasetSpec, EventStreams
from ml.data.engine import connect, parquet, statement, write_parquet
from ml.data.source_spec import ClickTable, StageTable

#: Days beyond the attribution windows in which a reference is still looked up: what is found there is late, what is
#: not found is an orphan. A week tells a long tail from a broken join.
LATE_GRACE_DAYS = 7

OptionalStage = Literal["cart", "favourite"]
#: The landed table of each optional stage.
STAGE_TABLES: dict[OptionalStage, str] = {"cart": "carts", "favourite": "favourites"}


def touch_lookback(spec: DatasetSpec) -> int:
    """Days before a click's day whose impressions it may belong to; a named one is looked for in the grace, too."""
    return spec.click_days + (LATE_GRACE_DAYS if names_impression(spec) else 0)


def credit_lookback(spec: DatasetSpec) -> int:
    """Days before an event's day whose clicks (or impressions) it may name, and whose orders it may repeat."""
    return spec.label_days + LATE_GRACE_DAYS


def needs_impressions(spec: DatasetSpec, stage: Literal["cart", "favourite", "conversion"]) -> bool:
    """Whether events of the stage name impressions, so that those without a click must be looked up, too."""
    return refers_to(spec, stage) == "impression_id"


def lookback(day: date, days: int) -> list[date]:
    """`day` and the `days` before it, oldest first."""
    return [day - timedelta(days=offset) for offset in range(days, -1, -1)]


def resolve_touches(
    *,
    spec: DatasetSpec,
    clicks: Path | None,
    impressions: Sequence[Path],
    scratch: Path,
    out: Path,
) -> int:
    """Write the touches of one day (each click with its impression or NULL) to `out`; returns their number.

    `impressions` are the landed impressions of the `touch_lookback` days before the day, as far as there are any,
    and, last, of the day itself. Where clicks are implied, `clicks` is None and every impression of the day is its own
    click.
    """
    if clicks is None:
        text = statement("touches_implied", impressions=parquet([impressions[-1]]))
        return _write(text, scratch=scratch, out=out)
    clicked = parquet([clicks])
    if names_impression(spec):
        own = parquet([impressions[-1]])
        past = _relation(impressions[:-1], like=own)
        found = statement("touches_by_impression", clicks=clicked, impressions=own, past=past)
    else:
        shown = parquet(list(impressions))
        found = statement("touches_by_time", clicks=clicked, impressions=shown, skew_us=_skew(spec))
    window = str(spec.attribution.click_window_seconds * 1_000_000)
    return _write(statement("touches", found=found, window_us=window), scratch=scratch, out=out)


def credit_conversions(
    *,
    spec: DatasetSpec,
    conversions: Path,
    touches: Sequence[Path],
    impressions: Sequence[Path],
    scratch: Path,
    out: Path,
    earlier: Sequence[Path] = (),
) -> int:
    """Write the conversions of one day, each with the impression it is credited to or NULL, to `out`.

    `touches` are those of the day and of the `credit_lookback` days before it, `impressions` too (they are read only
    if `needs_impressions`), `earlier` the landed conversions of the days before it. A row's `duplicate_rank` counts
    the deliveries of its order: 1 is credited, a higher one is a repeat and credited to nothing.
    """
    arrived = parquet([conversions])
    named = {
        "click_id": "click_id IS NOT NULL",
        "impression_id": "impression_id IS NOT NULL",
        "user_item_time": "user_key IS NOT NULL AND item_key IS NOT NULL",
    }
    # What makes two deliveries the same, NULL where the log does not say it.
    same = {
        **{name: name for name in ("order_id", "click_id", "impression_id", "user_key", "item_key")},
        "copy_time": "CASE WHEN order_id IS NULL THEN conversion_time END",
        "copy_value": "CASE WHEN order_id IS NULL THEN value END",
    }
    events = statement(
        "deliveries",
        conversions=arrived,
        earlier=_relation(earlier, like=arrived),
        named=named[refers_to(spec, "conversion")],
        same=", ".join(f"{value} AS {name}" for name, value in same.items()),
        same_names=", ".join(same),
    )
    return _credit(
        spec,
        "conversion",
        events=f"({events})",
        counts="found.duplicate_rank = 1",
        window_seconds=spec.attribution.conversion_window_seconds,
        touches=touches,
        impressions=impressions,
        scratch=scratch,
        out=out,
    )


def credit_stage(
    *,
    spec: DatasetSpec,
    stage: OptionalStage,
    events: Path,
    touches: Sequence[Path],
    impressions: Sequence[Path],
    scratch: Path,
    out: Path,
) -> int:
    """Write the add-to-cart or favourite events of one day, each with the impression it is credited to, to `out`.

    Inputs and columns are those of `credit_conversions`; copies are not told from events that happened twice: the
    label of an impression is the first one.
    """
    return _credit(
        spec,
        stage,
        events=parquet([events]),
        counts="TRUE",
        window_seconds=spec.attribution.stage_window_seconds,
        touches=touches,
        impressions=impressions,
        scratch=scratch,
        out=out,
    )


def _credit(
    spec: DatasetSpec,
    stage: Literal["cart", "favourite", "conversion"],
    *,
    events: str,
    counts: str,
    window_seconds: int,
    touches: Sequence[Path],
    impressions: Sequence[Path],
    scratch: Path,
    out: Path,
) -> int:
    event_time, window = f"{stage}_time", str(window_seconds * 1_000_000)
    touched = parquet(list(touches))
    reference = refers_to(spec, stage)
    if reference == "click_id":
        found = statement("credits_by_click", events=events, touches=touched)
    elif reference == "impression_id":
        same = "events.impression_id = touched.shown_impression"
        choice = _choice(spec, same=same, event_time=event_time, window=window)
        shown = parquet(list(impressions))
        found = statement("credits_by_impression", events=events, touches=touched, impressions=shown, choice=choice)
    else:
        same = "events.user_key = touched.user_key AND events.item_key = touched.item_key"
        choice = _choice(spec, same=same, event_time=event_time, window=window)
        found = statement("credits_by_time", events=events, touches=touched, choice=choice)
    text = statement("credits", found=found, counts=counts, event_time=event_time, window_us=window)
    return _write(text, scratch=scratch, out=out)


def _choice(spec: DatasetSpec, *, same: str, event_time: str, window: str) -> str:
    """The statement that gives every event one of the clicks in the table `touched`."""
    if spec.attribution.touch == "none":
        return statement("touch_none")
    parts = {"same": same, "event_time": event_time, "skew_us": _skew(spec)}
    latest = statement("touch_last", **parts)
    return (
        latest
        if spec.attribution.touch == "last"
        else statement("touch_first", latest=latest, window_us=window, **parts)
    )


def _skew(spec: DatasetSpec) -> str:
    return str(spec.validation.clock_skew_seconds * 1_000_000)


def names_impression(spec: DatasetSpec) -> bool:
    """Whether clicks name their impression, as the synthetic log's do."""
    clicks = spec.source.clicks if isinstance(spec.source, EventStreams) else None
    return not spec.clicks_implied and (not isinstance(clicks, ClickTable) or clicks.refers_to == "impression_id")


def refers_to(spec: DatasetSpec, stage: str) -> Literal["click_id", "impression_id", "user_item_time"]:
    """By what the events of a stage refer to what they follow; the synthetic log's conversions name their click."""
    if not isinstance(spec.source, EventStreams):
        return "click_id"
    tables: dict[str, StageTable | None] = {
        "cart": spec.source.carts,
        "favourite": spec.source.favourites,
        "conversion": spec.source.conversions,
    }
    table = tables[stage]
    assert table is not None, f"{spec.name} has no stream of {stage} events"
    return table.refers_to


def _relation(files: Sequence[Path], *, like: str) -> str:
    """A table expression of `files`, or of no rows with the columns of `like` where there are none."""
    return parquet(list(files)) if files else f"(SELECT * FROM {like} WHERE FALSE)"


def _write(text: str, *, scratch: Path, out: Path) -> int:
    with connect(scratch=scratch) as connection:
        # Few ids are looked for in older days; as a list, and not only as a filter, they skip whole row groups there.
        connection.execute("SET dynamic_or_filter_threshold = 10000")
        return write_parquet(connection, text, out)
