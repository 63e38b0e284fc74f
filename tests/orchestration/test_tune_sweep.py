"""A sweep's trial: its epochs reach W&B's run with the best so far, and the agent's stop ends its child."""

import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ml.data.dataset import DatasetSpec
from ml.experiments.scheduling import Stop
from ml.tuning.objective import EpochValue
from ml.tuning.search import Proposal, TrialFailed, Watch
from orchestration import tune_sweep
from orchestration.build import build_platform
from orchestration.settings import Settings
from orchestration.tune_request import tune_request


class FakeRun:
    """W&B's run: what is logged, and whether it ended well."""

    logged: list[dict[str, float]]

    def __init__(self) -> None:
        self.logged, self.ended = [], ""

    def __call__(self, **_: Any) -> "FakeRun":
        return self

    def __enter__(self) -> "FakeRun":
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        self.ended = "well" if kind is None else kind.__name__

    def log(self, values: Mapping[str, float]) -> None:
        self.logged.append(dict(values))


@pytest.fixture
def run_trial(
    settings: Settings, spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Any]:
    """run_trial(trial, parameters): the command's sweep trial with `trial` in place of the training."""

    def run(trial: Callable[[Proposal, Watch, Stop], None], parameters: Mapping[str, Any], **changes: Any) -> Any:
        wandb, told = FakeRun(), []
        monkeypatch.setattr(tune_sweep, "SweepRun", wandb)
        monkeypatch.setattr(tune_sweep, "Trials", lambda *_, **__: SimpleNamespace(run=trial))
        space = tune_sweep.sweep_space(json.dumps(parameters), sweep_id="s")
        request = tune_request(settings, spec, as_of=date(2026, 1, 9), model="esmm", space=space, **changes)
        platform = build_platform(settings, spec)
        code = tune_sweep.run_sweep_trial(platform, spec, request, tell=told.append)
        return SimpleNamespace(code=code, wandb=wandb, told=told)

    return run


def test_each_epoch_is_logged_with_the_best_so_far(run_trial: Callable[..., Any]):
    seen: list[Proposal] = []

    def trial(proposal: Proposal, watch: Watch, stop: Stop) -> None:
        seen.append(proposal)
        for epoch, value in enumerate((0.3, 0.1, 0.2), start=1):
            watch.take(EpochValue(epoch, value))
        assert not watch.is_behind

    parameters = {"learning_rate": 0.003, "batch_size": 500.0, "tower_widths": "[16]"}
    done = run_trial(trial, parameters, objective="loss")
    assert (done.code, done.wandb.ended) == (0, "well")
    assert done.wandb.logged == [
        {"epoch": 1, "loss": 0.3, "best_loss": 0.3},
        {"epoch": 2, "loss": 0.1, "best_loss": 0.1},
        {"epoch": 3, "loss": 0.2, "best_loss": 0.1},
    ]
    assert seen[0].parameters == {"learning_rate": 0.003, "batch_size": 500, "tower_widths": "[16]"}


def test_a_failed_trial_is_a_failed_run(run_trial: Callable[..., Any]):
    def trial(*_: Any) -> None:
        raise TrialFailed("the loss is no number")

    done = run_trial(trial, {"l2": 0.1})
    assert (done.code, done.wandb.ended, done.told) == (1, "TrialFailed", ["the loss is no number"])
    assert run_trial(lambda *_: None, {"l2": 0.1}).code == 1


@pytest.mark.parametrize("parameters", ["[1]", "{"])
def test_what_no_agent_hands_over_is_refused(parameters: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="no JSON object"):
        tune_sweep.sweep_space(parameters, sweep_id="s")
    with pytest.raises(ValueError, match="called by `wandb agent`"):
        tune_sweep.sweep_space('{"l2": 0.1}', sweep_id=None)
