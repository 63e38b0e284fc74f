"""What training a model cost, by stage, from the records that its child processes left; it measures nothing itself."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from assets.embeddings import NAME as EMBEDDINGS
from assets.resources import Platform, Prices
from assets.training_runs import read_json
from infra.artifacts import Artifact

if TYPE_CHECKING:
    from ml.report.facts import Costs, StageCost

_EXIT_FILE = "exit.json"
_HOUR = 3600


def training_costs(platform: Platform, *, bundle: Artifact, as_of: date) -> Costs:
    """The stages in the order they ran: CTR pre-training and the training of `bundle`, the model as of `as_of`.

    What was not trained again shows what its own training cost. A stage that left no record is absent, a value that
    its record lacks (an older version's) is None, and so is a price for which a measurement or a setting is missing.
    The graphs are built by children that keep no record, and are not among the stages.
    """
    from ml.report.facts import Costs

    stages = []
    embeddings = platform.artifacts.find(f"{EMBEDDINGS}/{as_of.isoformat()}")
    if embeddings is not None and _EXIT_FILE in embeddings.files:
        record = read_json(platform.artifacts.open(embeddings.key).path(_EXIT_FILE))
        same = embeddings.metadata.get("receipts") == bundle.manifest.metadata.get("receipts")
        made_anew = "" if same else "made of other days or receipts than the model was trained on"
        stages.append(_stage("CTR pre-training", record, platform.prices, notes=[made_anew]))
    record: Any = bundle.manifest.metadata.get("exit")
    if record:
        stages.append(_stage("training", record, platform.prices))
    prices = platform.prices
    return Costs(
        stages=tuple(stages),
        currency=prices.currency,
        per_cpu_hour=prices.per_cpu_hour,
        per_gpu_hour=prices.per_gpu_hour,
    )


def _stage(name: str, record: dict[str, Any], prices: Prices, *, notes: list[str] | None = None) -> StageCost:
    from ml.report.facts import StageCost

    went_on = record.get("resumed_from")
    last_attempt = f"the last attempt alone, which went on from a checkpoint ({went_on})" if went_on else ""
    cpu_seconds, gpu_seconds = record.get("cpu_seconds"), record.get("gpu_seconds")
    return StageCost(
        stage=name,
        wall_seconds=record.get("seconds"),
        cpu_seconds=cpu_seconds,
        gpu_seconds=gpu_seconds,
        peak_memory_bytes=record.get("peak_memory_bytes"),
        peak_gpu_memory_bytes=record.get("peak_gpu_memory_bytes"),
        price=_price(cpu_seconds, gpu_seconds, prices),
        note="; ".join(note for note in (*(notes or ()), last_attempt) if note),
    )


def _price(cpu_seconds: float | None, gpu_seconds: float | None, prices: Prices) -> float | None:
    """None unless every hour that was spent has a price: half a sum would be read as the whole."""
    if cpu_seconds is None or gpu_seconds is None or prices.per_cpu_hour is None:
        return None
    if gpu_seconds and prices.per_gpu_hour is None:
        return None
    return (cpu_seconds * prices.per_cpu_hour + gpu_seconds * (prices.per_gpu_hour or 0.0)) / _HOUR
