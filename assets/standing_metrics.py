"""How the data and the champion stand, as Prometheus metrics of the code server; what a training run does is its own.

Loaded only where metrics are served.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from assets.partitions import VERDICT_ASSET
from assets.receipts import read_decisions, read_receipt
from assets.resources import Platform
from data_checks.decisions import standing

#: Of the days that have a receipt, so many of the newest: whoever is on call mends a month, not a year.
DAYS = 30
#: A scrape reads two objects a day from the store; more often than this nothing changes that matters.
SECONDS_BETWEEN_READS = 60


@dataclass(frozen=True)
class PoolUse:
    """Steps that hold a place of a pool, those that wait for one, and how many places it has (None: without limit)."""

    running: int
    waiting: int
    places: int | None


class StandingCollector(Collector):
    """Reads store and pools at a scrape, at most once in SECONDS_BETWEEN_READS.

    What cannot be read is left out, `postclick_readable` says 0 of it, and the log why: a scrape never fails of it.
    """

    def __init__(
        self,
        platform: Platform,
        *,
        dataset: str,
        pools: Callable[[], Mapping[str, PoolUse]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform = platform
        self._dataset = dataset
        self._pools = pools
        self._clock = clock
        self._read_at: float | None = None
        self._known: list[GaugeMetricFamily] = []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The metrics, as old as SECONDS_BETWEEN_READS at most."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= SECONDS_BETWEEN_READS:
            self._known, self._read_at = self._read(), now
        return self._known

    def _read(self) -> list[GaugeMetricFamily]:
        parts = {"days": self._days, "champion": self._champion, "pools": self._use_of_pools}
        readable = GaugeMetricFamily(
            "postclick_readable", "1 if this part of the state could be read", labels=("dataset", "part")
        )
        found = [readable]
        for name, read in parts.items():
            try:
                found += read()
            except Exception as fault:
                logging.getLogger("postclick.metrics").warning("metrics of %s cannot be read: %s", name, fault)
                readable.add_metric((self._dataset, name), 0)
            else:
                readable.add_metric((self._dataset, name), 1)
        return found

    def _days(self) -> list[GaugeMetricFamily]:
        keys = sorted(key.rpartition("/")[2] for key in self._platform.artifacts.keys(f"{VERDICT_ASSET}/"))
        counts: Counter[tuple[str, str]] = Counter()
        newest_usable: date | None = None
        for day in map(date.fromisoformat, keys[-DAYS:]):
            receipt = read_receipt(self._platform, day)
            usable = standing(receipt, read_decisions(self._platform, day)).admitted
            newest_usable = day if usable else newest_usable
            counts[receipt.verdict if receipt else "no receipt", "yes" if usable else "no"] += 1
        days = GaugeMetricFamily(
            "postclick_days",
            f"of the newest {DAYS} days with a receipt: by its verdict, and whether they are trained on",
            labels=("dataset", "verdict", "usable"),
        )
        for (verdict, usable), count in sorted(counts.items()):
            days.add_metric((self._dataset, verdict, usable), count)
        if newest_usable is None:
            return [days]
        return [days, self._midnight("newest_usable_day", "the newest day that may be trained on", newest_usable)]

    def _champion(self) -> list[GaugeMetricFamily]:
        champion = self._platform.registry.champion()
        if champion is None:
            return []
        model_id = champion.model_id[:12]
        promoted = GaugeMetricFamily(
            "postclick_champion_promoted_timestamp_seconds",
            "when the champion was made it, by promotion or rollback",
            labels=("dataset", "model_id"),
        )
        promoted.add_metric((self._dataset, model_id), champion.promoted_at.timestamp())
        return [promoted, self._midnight("champion_as_of", "the day that the champion is of", champion.as_of)]

    def _use_of_pools(self) -> list[GaugeMetricFamily]:
        steps = GaugeMetricFamily(
            "postclick_pool_steps", "steps in a pool, by what they do", labels=("dataset", "pool", "state")
        )
        places = GaugeMetricFamily("postclick_pool_places", "places of a pool", labels=("dataset", "pool"))
        for pool, use in self._pools().items():
            steps.add_metric((self._dataset, pool, "running"), use.running)
            steps.add_metric((self._dataset, pool, "waiting"), use.waiting)
            if use.places is not None:
                places.add_metric((self._dataset, pool), use.places)
        return [steps, places]

    def _midnight(self, name: str, meaning: str, day: date) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily(
            f"postclick_{name}_timestamp_seconds", f"{meaning}: its beginning in UTC", labels=("dataset",)
        )
        gauge.add_metric((self._dataset,), datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        return gauge
