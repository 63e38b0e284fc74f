"""Keeps the credited events of each day (touches and credited conversions) in the store, made once and reused."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

from assets.resources import Platform
from infra.artifacts import Artifact
from ml.code_version import code_version
from ml.data.attribution import credit_conversions, credit_lookback, lookback, resolve_touches, touch_lookback
from ml.data.dataset import DatasetSpec
from ml.data.samples import LabelEvents, label_horizon

REFUSAL_FILE = "refused.txt"


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


def label_events(
    platform: Platform, spec: DatasetSpec, day: date, *, scratch: Path
) -> tuple[LabelEvents, datetime, dict[str, str]] | None:
    """Credited events that can label impressions of `day`, up to where they are observed without a gap.

    Returns the files, the label horizon (UTC) and the version of every artifact they rest on; None where the day's
    own events or conversions are not landed.
    """
    touches: list[Artifact] = []
    credited: list[Artifact] = []
    observed = day
    for offset in range(spec.label_days + 1):
        event_day = day + timedelta(days=offset)
        touched = _touches(platform, spec, event_day, scratch=scratch)
        converted = _credits(platform, spec, event_day, scratch=scratch) if touched else None
        if touched is None or converted is None:
            break
        touches.append(touched)
        credited.append(converted)
        observed = event_day
    if not credited:
        return None
    versions = {artifact.manifest.key: artifact.manifest.version for artifact in (*touches, *credited)}
    events = LabelEvents(
        touches=[artifact.path("touches.parquet") for artifact in touches],
        credits=[artifact.path("credits.parquet") for artifact in credited],
    )
    return events, label_horizon(spec=spec, last_observed=observed), versions


def _touches(platform: Platform, spec: DatasetSpec, day: date, *, scratch: Path) -> Artifact | None:
    own = raw_artifact(platform, "raw_events", day)
    if own is None:
        return None
    shown = _present(platform, "raw_events", lookback(day, touch_lookback(spec)))

    def make(out: Path) -> int:
        return resolve_touches(
            spec=spec,
            clicks=None if spec.clicks_implied else own.path("clicks.parquet"),
            impressions=[artifact.path("impressions.parquet") for artifact in shown],
            scratch=scratch,
            out=out,
        )

    return _made_once(platform, spec, f"touches/{day.isoformat()}/touches.parquet", shown, make, scratch=scratch)


def _credits(platform: Platform, spec: DatasetSpec, day: date, *, scratch: Path) -> Artifact | None:
    own = raw_artifact(platform, "raw_conversions", day)
    if own is None:
        return None
    days = lookback(day, credit_lookback(spec))
    shown = _present(platform, "raw_events", days)
    touches = [touched for past in days if (touched := _touches(platform, spec, past, scratch=scratch)) is not None]

    def make(out: Path) -> int:
        return credit_conversions(
            spec=spec,
            conversions=own.path("conversions.parquet"),
            touches=[artifact.path("touches.parquet") for artifact in touches],
            impressions=[artifact.path("impressions.parquet") for artifact in shown],
            scratch=scratch,
            out=out,
        )

    inputs = [own, *shown, *touches]
    return _made_once(
        platform, spec, f"credited_conversions/{day.isoformat()}/credits.parquet", inputs, make, scratch=scratch
    )


def _present(platform: Platform, asset: str, days: Iterable[date]) -> list[Artifact]:
    return [artifact for day in days if (artifact := raw_artifact(platform, asset, day)) is not None]


def _made_once(
    platform: Platform,
    spec: DatasetSpec,
    address: str,
    inputs: Iterable[Artifact],
    make: Callable[[Path], int],
    *,
    scratch: Path,
) -> Artifact:
    """The artifact of `address` (key/file), made anew only if what it rests on has changed."""
    key, _, name = address.rpartition("/")
    rests_on = {
        "inputs": {artifact.manifest.key: artifact.manifest.version for artifact in inputs},
        "attribution": spec.attribution.model_dump(mode="json"),
        "code_version": code_version(),
    }
    manifest = platform.artifacts.find(key)
    if manifest is None or manifest.metadata != rests_on:
        out = scratch / address
        make(out)
        platform.artifacts.publish(key, {name: out}, metadata=rests_on)
    return platform.artifacts.open(key)
