"""Keeps the credited events of each day (touches and what followed them) in the store, made once and reused."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from assets.resources import Platform
from infra.artifacts import Artifact
from ml.code_version import code_version
from ml.data.attribution import (
    STAGE_TABLES,
    credit_conversions,
    credit_lookback,
    credit_stage,
    lookback,
    needs_impressions,
    resolve_touches,
    touch_lookback,
)
from ml.data.dataset import DatasetSpec, EventStreams, Stage
from ml.data.samples import LabelEvents, label_horizon

REFUSAL_FILE = "refused.txt"
CREDITS_FILE, TOUCHES_FILE = "credits.parquet", "touches.parquet"
CreditedStage = Literal["cart", "favourite", "conversion"]
_KEYS: dict[CreditedStage, str] = {
    "cart": "credited_carts",
    "favourite": "credited_favourites",
    "conversion": "credited_conversions",
}


def raw_artifact(platform: Platform, asset: str, day: date) -> Artifact | None:
    """The landed tables of a day, or None where it was not landed or was refused."""
    key = f"{asset}/{day.isoformat()}"
    manifest = platform.artifacts.find(key)
    if manifest is None or REFUSAL_FILE in manifest.files:
        return None
    return platform.artifacts.open(key)


def refusal(platform: Platform, asset: str, day: date) -> str:
    """Why `raw_artifact` has nothing for the day, in words."""
    manifest = platform.artifacts.find(f"{asset}/{day.isoformat()}")
    if manifest is None:
        return f"{asset} of {day.isoformat()} was never landed; materialize it"
    reason = platform.artifacts.open(manifest.key).path(REFUSAL_FILE).read_text(encoding="utf-8")
    return f"{asset} of {day.isoformat()} was refused: {reason}"


def why_not_joined(platform: Platform, spec: DatasetSpec, day: date) -> str | None:
    """What the day's samples lack, in words; None where everything is there."""
    landed = raw_artifact(platform, "raw_events", day)
    if landed is None:
        return refusal(platform, "raw_events", day)
    for stage, table in STAGE_TABLES.items():
        if stage in spec.stages and f"{table}.parquet" not in landed.manifest.files:
            return (
                f"raw_events of {day.isoformat()} was landed without {table}, which the dataset spec has by now; "
                "materialize it again"
            )
    if not spec.labels_complete and raw_artifact(platform, "raw_conversions", day) is None:
        return refusal(platform, "raw_conversions", day)
    return None


class CreditedEvents:
    """The credited events of each day, made where they are missing or rest on other inputs than there are now.

    Every day's manifests are read once: a credit rests on ten days, each of which rests on as many.
    """

    def __init__(self, platform: Platform, spec: DatasetSpec, *, scratch: Path) -> None:
        self._platform = platform
        self._spec = spec
        self._scratch = scratch
        self._raw: dict[tuple[str, date], Artifact | None] = {}
        self._made: dict[str, Artifact] = {}

    def touches(self, day: date) -> Artifact | None:
        """The clicks of `day` (TOUCHES_FILE) with their impressions; None where its events are not landed."""
        spec, own = self._spec, self.landed("raw_events", day)
        if own is None:
            return None
        shown = self.present("raw_events", lookback(day, touch_lookback(spec)))

        def make(out: Path) -> int:
            return resolve_touches(
                spec=spec,
                clicks=None if spec.clicks_implied else own.path("clicks.parquet"),
                impressions=[artifact.path("impressions.parquet") for artifact in shown],
                scratch=self._scratch,
                out=out,
            )

        return self._made_once(f"touches/{day.isoformat()}", TOUCHES_FILE, shown, make)

    def credited(self, stage: CreditedStage, day: date) -> Artifact | None:
        """The events of `stage` on `day` (CREDITS_FILE) with the impressions they are credited to; None where they, or
        the day's own events, are not landed."""
        spec, days = self._spec, lookback(day, credit_lookback(self._spec))
        own = self.landed("raw_conversions" if stage == "conversion" else "raw_events", day)
        if own is None or (stage != "conversion" and f"{STAGE_TABLES[stage]}.parquet" not in own.manifest.files):
            return None
        shown = self.present("raw_events", days) if needs_impressions(spec, stage) else []
        earlier = self.present("raw_conversions", days[:-1]) if stage == "conversion" else []
        touches = [touched for past in days if (touched := self.touches(past)) is not None]

        def make(out: Path) -> int:
            touched = [artifact.path(TOUCHES_FILE) for artifact in touches]
            impressions = [artifact.path("impressions.parquet") for artifact in shown]
            where = {"scratch": self._scratch, "out": out}
            if stage != "conversion":
                events = own.path(f"{STAGE_TABLES[stage]}.parquet")
                return credit_stage(
                    spec=spec, stage=stage, events=events, touches=touched, impressions=impressions, **where
                )
            return credit_conversions(
                spec=spec,
                conversions=own.path("conversions.parquet"),
                earlier=[artifact.path("conversions.parquet") for artifact in earlier],
                touches=touched,
                impressions=impressions,
                **where,
            )

        inputs = [own, *earlier, *shown, *touches]
        return self._made_once(f"{_KEYS[stage]}/{day.isoformat()}", CREDITS_FILE, inputs, make)

    def landed(self, asset: str, day: date) -> Artifact | None:
        """The landed tables of a day, as `raw_artifact` finds them, looked up once."""
        if (asset, day) not in self._raw:
            self._raw[asset, day] = raw_artifact(self._platform, asset, day)
        return self._raw[asset, day]

    def present(self, asset: str, days: Iterable[date]) -> list[Artifact]:
        """Those of `days` that are landed, in their order."""
        return [artifact for day in days if (artifact := self.landed(asset, day)) is not None]

    def _made_once(self, key: str, name: str, inputs: Iterable[Artifact], make: Callable[[Path], int]) -> Artifact:
        if key not in self._made:
            rests_on: dict[str, JsonValue] = {
                "inputs": {artifact.manifest.key: artifact.manifest.version for artifact in inputs},
                "attribution": self._spec.attribution.model_dump(mode="json"),
                "clock_skew_seconds": self._spec.validation.clock_skew_seconds,
                "refers_to": references(self._spec),
                "code_version": code_version(),
            }
            self._made[key] = made_once(
                self._platform, key, name, rests_on=rests_on, make=make, out=self._scratch / key / name
            )
        return self._made[key]


def made_once(
    platform: Platform,
    key: str,
    name: str,
    *,
    rests_on: Mapping[str, JsonValue],
    make: Callable[[Path], int],
    out: Path,
) -> Artifact:
    """The artifact `key` with its one file, made (by way of `out`) only where what it rests on has changed."""
    manifest = platform.artifacts.find(key)
    if manifest is None or manifest.metadata != rests_on:
        make(out)
        platform.artifacts.publish(key, {name: out}, metadata=rests_on)
    return platform.artifacts.open(key)


def label_events(
    platform: Platform, spec: DatasetSpec, day: date, *, scratch: Path, credited: CreditedEvents | None = None
) -> tuple[LabelEvents, datetime, dict[str, str]] | None:
    """Credited events that can label impressions of `day`, up to where they are observed without a gap.

    Returns the files, the label horizon (UTC) and the version of every artifact they rest on; None where the day's
    own events or conversions are not landed (`why_not_joined` has the reason).
    """
    events = credited or CreditedEvents(platform, spec, scratch=scratch)
    stages: list[CreditedStage] = [stage for stage in _KEYS if stage in spec.stages]
    found: dict[Stage, list[Artifact]] = {"click": [], **{stage: [] for stage in stages}}
    observed = None
    for event_day in (day + timedelta(days=offset) for offset in range(spec.label_days + 1)):
        touched = events.touches(event_day)
        followed = [events.credited(stage, event_day) for stage in stages] if touched else [None]
        if touched is None or None in followed:
            break
        found["click"].append(touched)
        for stage, artifact in zip(stages, followed, strict=True):
            found[stage] += [artifact] if artifact else []
        observed = event_day
    if observed is None:
        return None
    files: dict[Stage, list[Path]] = {
        stage: [artifact.path(TOUCHES_FILE if stage == "click" else CREDITS_FILE) for artifact in artifacts]
        for stage, artifacts in found.items()
    }
    labels = LabelEvents(touches=files.pop("click"), credits=files.pop("conversion"), stages=files)
    versions = {
        artifact.manifest.key: artifact.manifest.version for artifacts in found.values() for artifact in artifacts
    }
    return labels, label_horizon(spec=spec, last_observed=observed), versions


def references(spec: DatasetSpec) -> dict[str, JsonValue]:
    """By what each stream names what it follows: with other references the same raw files give other credits."""
    if not isinstance(spec.source, EventStreams):
        return {}
    tables = (spec.source.clicks, spec.source.carts, spec.source.favourites, spec.source.conversions)
    return {
        stage: None if table is None or table == "implied" else table.refers_to
        for stage, table in zip(("click", *_KEYS), tables, strict=True)
    }
