"""The W&B run of one trial of a sweep, logged to while it trains; finished runs are mirrored by `tracking`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

SWEEP_ID = "WANDB_SWEEP_ID"


class SweepRun:
    """The run that an agent's environment names (WANDB_RUN_ID, WANDB_SWEEP_ID, and its key).

    A fault of W&B is raised: without the metric the sweep could not go on.
    """

    def __init__(self, *, folder: Path) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_machine_info=True
        )
        # Project and parameters are the sweep's: the agent has put them there.
        self._run: Any = wandb.init(dir=str(folder), settings=settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._run.finish(exit_code=0 if kind is None else 1)

    def log(self, values: Mapping[str, float]) -> None:
        """One step of the run's history."""
        self._run.log(dict(values))
