"""The synthetic feed: generates days, each on its own, and knows which are there; reading them is the sources' task."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from ml.data.synthetic.behaviour import Population, populate
from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.day_files import DayMarker, DayWriter, day_lock, marker_path, write_text
from ml.data.synthetic.events import DAY_MICROSECONDS, Events, chunk_count, draw_chunk
from ml.data.synthetic.faults import plant_faults
from ml.data.synthetic.tables import (
    CLICKS,
    CONVERSIONS,
    click_table,
    conversion_table,
    impression_table,
    truth_table,
)


class FeedMismatch(Exception):
    """The folder holds events of other settings."""


class SyntheticFeed(BaseModel):
    """Where the feed of a config lies, and the markers of the days that were asked for, in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    markers: tuple[DayMarker, ...]


def feed_folder(*, config: SyntheticConfig, root: Path) -> Path:
    """The folder of this config's feed under `root`, named by the config's digest: other settings, another folder."""
    return root / f"synthetic-{config.digest()[:16]}"


def lookback_days(config: SyntheticConfig) -> int:
    """How many days before E may put rows into day E's files of clicks and conversions."""
    return config.lookback_days()


def ensure_days(*, config: SyntheticConfig, days: Iterable[date], root: Path) -> SyntheticFeed:
    """Generates the days not complete in `feed_folder`; processes that ask for the same day wait for each other."""
    folder = feed_folder(config=config, root=root)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.json", json.dumps(config.model_dump(mode="json"), indent=2) + "\n")
    population = None
    markers = []
    for day in days:
        with day_lock(root=folder, day=day):
            marker = _complete_marker(folder, day)
            if marker is None:
                population = population or populate(config)
                marker = _generate(config, population, day, folder)
        markers.append(marker)
    return SyntheticFeed(root=folder, markers=tuple(markers))


def generate_day(*, config: SyntheticConfig, day: date, root: Path) -> DayMarker:
    """Writes the events that begin on `day` (UTC) into the feed folder `root`, anew where they are there.

    Files: impressions/day=D/part-0.parquet, truth/day=D/truth.parquet, and for every day E on which a click or
    conversion happened, clicks/day=E/from=D.parquet and conversions/day=E/from=D.parquet (for E = D always, empty or
    not); times are UTC without a zone. Last of all the marker _generated/D.json.

    Raises:
        FeedMismatch: `root` holds this day with other settings.
    """
    with day_lock(root=root, day=day):
        present = read_marker(root=root, day=day)
        if present is not None and present.config_digest != config.digest():
            raise FeedMismatch(
                f"{root} holds {day} of config {present.config_digest[:16]}, asked for is {config.digest()[:16]}: "
                "give another folder (feed_folder names one per config) or delete this one"
            )
        return _generate(config, populate(config), day, root)


def read_marker(*, root: Path, day: date) -> DayMarker | None:
    """The marker of a day in the feed folder `root`; None where the day is not finished."""
    path = marker_path(root=root, day=day)
    return DayMarker.model_validate_json(path.read_bytes()) if path.exists() else None


def _complete_marker(root: Path, day: date) -> DayMarker | None:
    marker = read_marker(root=root, day=day)
    if marker is None:
        return None
    there = all(
        (root / file.path).is_file() and (root / file.path).stat().st_size == file.bytes for file in marker.files
    )
    return marker if there else None


def _generate(config: SyntheticConfig, population: Population, day: date, root: Path) -> DayMarker:
    marker_path(root=root, day=day).unlink(missing_ok=True)
    writer = DayWriter(root=root, day=day)
    writer.write("clicks", day, CLICKS.empty_table())
    writer.write("conversions", day, CONVERSIONS.empty_table())
    for chunk in range(chunk_count(config, day)):
        true = draw_chunk(config, population, day, chunk)
        arrived = plant_faults(config, day, chunk, true)
        writer.write("truth", day, truth_table(day, true))
        writer.write("impressions", day, impression_table(population.world, day, arrived))
        _write_followers(day, arrived, writer)
    files = writer.publish()
    rows = dict.fromkeys(("impressions", "clicks", "conversions", "truth"), 0)
    for file in files:
        rows[file.stream] += file.rows
    marker = DayMarker(day=day, config_digest=config.digest(), files=files, **rows)
    write_text(marker_path(root=root, day=day), marker.model_dump_json(indent=1) + "\n")
    return marker


def _write_followers(day: date, events: Events, writer: DayWriter) -> None:
    """Clicks and conversions, each into the file of the day on which it happened."""
    clicked_on = events.clicks.microsecond // DAY_MICROSECONDS
    for later in np.unique(clicked_on):
        chosen = np.flatnonzero(clicked_on == later)
        writer.write("clicks", day + timedelta(days=int(later)), click_table(day, events, chosen))
    converted_on = events.conversions.microsecond // DAY_MICROSECONDS
    for later in np.unique(converted_on):
        chosen = np.flatnonzero(converted_on == later)
        writer.write("conversions", day + timedelta(days=int(later)), conversion_table(day, events, chosen))
