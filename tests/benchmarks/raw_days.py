"""The generated log that is measured on: two landed days of any volume, with a few faults, kept between runs."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import load_dataset
from ml.data.sources.source import LogSource

DAYS = (date(2026, 1, 5), date(2026, 1, 6))
#: The day that is joined and validated; the day before it is looked back at.
DAY = DAYS[1]
_FAULTS = [
    {"day": DAY, "kind": "duplicates", "share": 0.005},
    {"day": DAY, "kind": "conversions_without_click", "share": 0.004},
]


@dataclass(frozen=True)
class RawDays:
    """Where the files of one volume lie below the benchmark's folder."""

    root: Path
    impressions: int

    @property
    def folder(self) -> Path:
        """The folder of this volume."""
        return self.root / str(self.impressions)

    @property
    def spec(self) -> DatasetSpec:
        """The demo's spec at this volume."""
        spec = load_dataset("demo", environment={})
        config = spec.source.config.model_copy(update={"impressions_per_day": self.impressions})
        faulty = type(config).model_validate(config.model_dump() | {"faults": _FAULTS})
        return spec.model_copy(update={"source": spec.source.model_copy(update={"config": faulty})})

    def landed(self, table: str, day: date = DAY) -> Path:
        """A landed table of a day."""
        return self.folder / "raw" / day.isoformat() / f"{table}.parquet"

    def file(self, name: str) -> Path:
        """A file that a step writes and a later one reads."""
        return self.folder / name

    def land(self) -> None:
        """Generate and land both days, unless an earlier run has: empty the folder when landing has changed."""
        done = self.file("landed")
        if done.exists():
            return
        source = LogSource(spec=self.spec, feed_root=self.folder / "feed")
        for landed in (source.land_events, source.land_conversions):
            list(landed(days=list(DAYS), root=self.folder / "raw"))
        done.touch()
