"""A home, a working folder and an environment of their own for each test, and the tests' tiny log as a dataset spec."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import load_dataset
from orchestration.settings import Settings, read_settings

TINY = Path(__file__).parents[1] / "assets" / "tiny.yaml"


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variable of Postclick's, of the tracker's or of Dagster's is set; the working folder holds no `.env`."""
    for name in os.environ:
        if name.startswith(("POSTCLICK_", "WANDB_", "DAGSTER_")):
            monkeypatch.delenv(name)
    # `prepare_process` sets these in this process; monkeypatch puts them back as they were
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GX_ANALYTICS_ENABLED", "MPLBACKEND"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def own_log_records() -> Iterator[None]:
    """`prepare_process` keeps secrets out of log records; those of one test are no other's."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., str]:
    """write_dataset(faults=…, **sections) → the path of a spec of the tiny log with these changes."""

    def write(*, faults: list[dict[str, Any]] | None = None, **sections: Any) -> str:
        content = yaml.safe_load(TINY.read_text(encoding="utf-8"))
        content["source"]["config"]["faults"] = faults or []
        for name, section in sections.items():
            content[name] = {**content[name], **section} if isinstance(section, dict) else section
        path = tmp_path / "dataset.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs whose steps are pods of a stand-in cluster."""
    from tests.orchestration.step_bench import open_bench

    with open_bench(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def spec() -> DatasetSpec:
    return load_dataset(str(TINY), environment={})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({"home": tmp_path / "home", "dataset": str(TINY), "threads": 1})
