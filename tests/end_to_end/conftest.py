"""A home in which the real jobs have made the tiny log's data and two models, and a second home made from nothing."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.resources import Platform
from ml.data.dataset import DatasetSpec
from orchestration.build import build_platform
from orchestration.definitions import build_definitions
from orchestration.instance import open_instance
from orchestration.runs import RunOutcome, run_data, run_models
from orchestration.settings import Settings, read_settings

DAYS = [date(2026, 1, day) for day in range(5, 12)]
BAD_DAY = date(2026, 1, 7)
TINY = Path(__file__).parents[1] / "assets" / "tiny.yaml"
TRACKERS = {
    "raises": "raise RuntimeError('the tracker is broken')",
    "hangs": "import time; print('busy', flush=True); time.sleep(600)",
    "does nothing": "pass",
}


@dataclass
class Home:
    """One home: the jobs as the command line and the UI run them, on a platform with a tracker of the test's."""

    settings: Settings
    spec: DatasetSpec
    platform: Platform
    instance: dg.DagsterInstance
    told: list[str]

    def definitions(self, platform: Platform | None = None, *, jobs: Sequence[Any] = ()) -> dg.Definitions:
        resource = dg.ResourceDefinition.hardcoded_resource(platform or self.platform)
        found = build_definitions(self.settings)
        return dg.Definitions(
            assets=found.assets,
            jobs=[*(found.jobs or []), *jobs],
            resources={**(found.resources or {}), "platform": resource},
            executor=found.executor,
        )

    def track(self, how: str) -> None:
        """Let the tracker be a program that `how` says; it is given a second."""
        command = (sys.executable, "-S", "-c", TRACKERS[how])
        tracking = replace(self.platform.tracking, command=command, timeout_seconds=1)
        self.platform = replace(self.platform, tracking=tracking)

    def data(self, days: Sequence[date] = DAYS) -> RunOutcome:
        return run_data(self.definitions(), self.instance, days=days, tell=self.told.append)

    def models(self, as_of: date, **form: Any) -> RunOutcome:
        return run_models(self.definitions(), self.instance, as_of=as_of, form=form, tell=self.told.append)

    def materialize(self, *names: str, as_of: date, platform: Platform | None = None) -> dg.ExecuteInProcessResult:
        """Some assets alone, as from the UI."""
        chosen = dg.define_asset_job("chosen", selection=dg.AssetSelection.assets(*names))
        job = self.definitions(platform, jobs=[chosen]).resolve_job_def("chosen")
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return job.execute_in_process(
            instance=self.instance, partition_key=as_of.isoformat(), raise_on_error=False, run_config=quiet
        )


@pytest.fixture(scope="session")
def make_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Home]]:
    dataset = tmp_path_factory.mktemp("dataset") / "tiny.yaml"
    content = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    content["source"]["config"]["faults"] = [{"day": BAD_DAY.isoformat(), "kind": "low_volume", "share": 0.2}]
    dataset.write_text(yaml.safe_dump(content), encoding="utf-8")
    opened: list[dg.DagsterInstance] = []

    def make(name: str) -> Home:
        # made by keyword, not read: the environment of whoever runs the tests has no say
        settings = read_settings(
            {
                "home": tmp_path_factory.mktemp(name),
                "dataset": str(dataset),
                "threads": 1,
                "wandb_api_key": None,
                "store": None,
                "executor": "in_process",
                "dagster_home": None,
            }
        )
        spec = settings.dataset_spec()
        platform = build_platform(settings, spec)
        opened.append(open_instance(settings, spec))
        home = Home(settings=settings, spec=spec, platform=platform, instance=opened[-1], told=[])
        home.track("does nothing")
        return home

    yield make
    for instance in opened:
        instance.dispose()


@pytest.fixture(scope="session")
def chain(make_home: Callable[[str], Home]) -> tuple[Home, dict[str, RunOutcome]]:
    """The home after a range run of the data and models as of the 8th and the 9th; the 7th is a bad day.

    The first model's tracker raises, the second's hangs.
    """
    home = make_home("home")
    outcomes = {"data": home.data()}
    for as_of, tracker in zip(DAYS[3:5], ("raises", "hangs"), strict=True):
        home.track(tracker)
        outcomes[as_of.isoformat()] = home.models(as_of)
    return home, outcomes
