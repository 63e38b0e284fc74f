"""What training cost: from the records of the children, priced where both a measurement and a price are known."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from assets.costs import training_costs
from assets.resources import Platform, Prices
from infra.artifacts import Artifact
from ml.report.facts import Costs
from ml.training.exit_record import ExitRecord

AS_OF = date(2026, 1, 9)
RECEIPTS = {"2026-01-08": "r8"}
CPU_RUN = {"peak_memory_bytes": 500, "seconds": 100.0, "cpu_seconds": 180.0, "gpu_seconds": 0.0}
GPU_RUN = {**CPU_RUN, "gpu_seconds": 90.0, "peak_gpu_memory_bytes": 700}
OLD_RUN = {"peak_memory_bytes": 500, "seconds": 100.0}
PRICED = Prices(per_cpu_hour=0.1, per_gpu_hour=2.0, currency="EUR")


@pytest.fixture
def cost(platform: Platform, tmp_path: Path) -> Callable[..., Costs]:
    """cost(training record, pretraining record, prices=…): the costs of a stored bundle and embeddings."""

    def publish(key: str, record: Any, metadata: dict[str, Any]) -> Artifact:
        file = tmp_path / "exit.json"
        file.write_text(json.dumps(record))
        platform.artifacts.publish(key, {"exit.json": file} if record else {"other": file}, metadata=metadata)
        return platform.artifacts.open(key)

    def run(
        training: Any, pretraining: Any = None, *, prices: Prices = PRICED, receipts: dict[str, str] = RECEIPTS
    ) -> Costs:
        bundle = publish("models/m", {}, {"receipts": RECEIPTS, **({"exit": training} if training else {})})
        if pretraining is not None:
            publish(f"ctr_embeddings/{AS_OF}", pretraining, {"receipts": receipts})
        return training_costs(replace(platform, prices=prices), bundle=bundle, as_of=AS_OF)

    return run


def record(values: dict[str, Any], **more: Any) -> dict[str, Any]:
    return ExitRecord.model_validate({"status": "ok", **values, **more}).model_dump(mode="json")


def test_stages_come_in_the_order_they_ran_with_what_was_measured(cost: Callable[..., Costs]):
    costs = cost(record(GPU_RUN), record(CPU_RUN))
    pretraining, training = costs.stages
    assert (pretraining.stage, training.stage) == ("CTR pre-training", "training")
    assert (training.wall_seconds, training.cpu_seconds, training.gpu_seconds) == (100.0, 180.0, 90.0)
    assert (training.peak_memory_bytes, training.peak_gpu_memory_bytes) == (500, 700)
    assert pretraining.price == pytest.approx(180 * 0.1 / 3600)
    assert training.price == pytest.approx((180 * 0.1 + 90 * 2.0) / 3600)
    assert (costs.currency, costs.per_cpu_hour, costs.per_gpu_hour) == ("EUR", 0.1, 2.0)
    assert (pretraining.note, training.note) == ("", "")


@pytest.mark.parametrize(
    ("run", "prices", "priced"),
    [
        (CPU_RUN, Prices(), False),
        (CPU_RUN, Prices(per_gpu_hour=2.0), False),
        (CPU_RUN, Prices(per_cpu_hour=0.1), True),
        (CPU_RUN, Prices(per_cpu_hour=0.0), True),
        (GPU_RUN, Prices(per_cpu_hour=0.1), False),
        (GPU_RUN, Prices(per_cpu_hour=0.0, per_gpu_hour=2.0), True),
        (OLD_RUN, PRICED, False),
    ],
)
def test_a_price_is_never_guessed(cost: Callable[..., Costs], run: Any, prices: Prices, priced: bool):
    [stage] = cost(record(run), prices=prices).stages
    assert (stage.price is not None) == priced


def test_records_of_older_versions_show_what_they_hold(cost: Callable[..., Costs]):
    pretraining, training = cost(OLD_RUN, {"status": "ok", **OLD_RUN}).stages
    for stage in (pretraining, training):
        assert (stage.wall_seconds, stage.cpu_seconds, stage.gpu_seconds) == (100.0, None, None)


def test_a_stage_without_record_is_absent(cost: Callable[..., Costs]):
    assert cost(None).stages == ()
    assert [stage.stage for stage in cost(record(CPU_RUN), {}).stages] == ["training"]


def test_a_resumed_run_says_that_it_is_its_last_attempt_alone(cost: Callable[..., Costs]):
    [stage] = cost(record(CPU_RUN, resumed_from="epoch 2, after step 30 of it")).stages
    assert stage.note == "the last attempt alone, which went on from a checkpoint (epoch 2, after step 30 of it)"


def test_embeddings_made_anew_of_other_receipts_say_so(cost: Callable[..., Costs]):
    pretraining, _ = cost(record(CPU_RUN), record(CPU_RUN), receipts={"2026-01-08": "another"}).stages
    assert "other days or receipts" in pretraining.note
