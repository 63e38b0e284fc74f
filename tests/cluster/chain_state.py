"""What must hold of the store and of the events after any fault: nothing lost, nothing twice."""

import hashlib
from collections import Counter
from datetime import date, timedelta

from dagster import DagsterEventType

from assets.models import model_key, read_pointer
from assets.receipts import read_receipts
from assets.resources import Platform
from infra.leases import LeaseRecord
from tests.cluster.runs import Runs

AS_OF = date(2026, 1, 8)
#: The window, the judged day, and the days until its labels are final.
DAYS = [AS_OF + timedelta(days=distance) for distance in range(-3, 3)]
DATA_STEPS = {"raw_events", "raw_conversions", "joined_samples", "validation"}


def weights(platform: Platform) -> str:
    """The SHA-256 of the weights of the model as of the day."""
    bundle = platform.artifacts.open(model_key(read_pointer(platform, AS_OF)))
    return hashlib.sha256(bundle.path("weights.safetensors").read_bytes()).hexdigest()


def check_data(platform: Platform) -> None:
    """Each day has one receipt, and its samples can be read."""
    receipts = read_receipts(platform, DAYS)
    assert [receipt.day for receipt in receipts] == DAYS
    assert len({receipt.receipt_id for receipt in receipts}) == len(DAYS)
    for day in DAYS:
        _one_version(platform, f"validated_samples/{day}")


def check_model(platform: Platform, *, decisions: int = 1) -> None:
    """One bundle, which is the champion by one decision; no checkpoint is left and no lease is held."""
    model_id = read_pointer(platform, AS_OF)
    assert list(platform.artifacts.keys("models/")) == [model_key(model_id)]
    _one_version(platform, model_key(model_id))
    assert platform.registry.champion().model_id == model_id  # type: ignore[union-attr]
    history = platform.registry.history()
    assert [entry.model_id for entry in history] == [model_id] * decisions
    assert [bool(entry.took_effect) for entry in history].count(True) == 1
    assert list(platform.artifacts.keys("checkpoints/")) == []
    assert list(platform.objects.list_keys("checkpoints/")) == []
    for key in platform.objects.list_keys("leases/"):
        assert LeaseRecord.model_validate_json(platform.objects.get_bytes(key).data).holder is None, key


def check_events(runs: Runs, run_id: str, *, steps: set[str]) -> None:
    """Every step succeeded once, and every asset was recorded once for each partition."""
    assert runs.counted(run_id, DagsterEventType.STEP_SUCCESS) == Counter(steps)
    assert not runs.counted(run_id, DagsterEventType.STEP_FAILURE)
    recorded = Counter(
        (event.asset_key.to_user_string(), event.partition)
        for entry in runs.entries(run_id)
        if (event := entry.dagster_event) and event.event_type == DagsterEventType.ASSET_MATERIALIZATION
        if event.asset_key
    )
    assert recorded
    assert set(recorded.values()) == {1}, recorded


def _one_version(platform: Platform, key: str) -> None:
    """The artifact's manifest and the files of one version, none missing and none besides."""
    manifest = platform.artifacts.find(key)
    assert manifest is not None
    stored = set(platform.objects.list_keys(f"{key}/"))
    assert stored == {f"{key}/manifest.json", *(f"{manifest.folder}/{name}" for name in manifest.files)}
