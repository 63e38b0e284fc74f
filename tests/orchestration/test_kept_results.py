"""Jobs and commands that train many models, before a store that outlives their machine: where results are, and when
they are gone on with."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from assets.resources import Platform
from data_checks.receipts import Receipt
from ml.data.dataset import DatasetSpec
from ml.tuning.pages import INDEX_FILE
from orchestration.build import build_platform
from orchestration.command_line import app
from orchestration.experiment_job import EXPERIMENT, build_experiment_job
from orchestration.settings import Settings, read_settings
from orchestration.tune_job import TUNE, build_tune_job
from tests.assets.conftest import publish_day
from tests.assets.experiment_bench import Bench as ExperimentBench
from tests.assets.tuning_bench import Bench as TuningBench
from tests.infra.conftest import connect, s3_endpoint
from tests.orchestration.conftest import TINY

__all__ = ["connect", "publish_day", "s3_endpoint"]  # fixtures, which nothing here calls

DAY = "2026-01-09"
JOBS: dict[str, tuple[Any, Any, str, dict[str, Any]]] = {
    EXPERIMENT: (build_experiment_job, ExperimentBench, "run_tables", {"tables": ["a"], "models": ["mlp"], "seeds": 1}),
    TUNE: (build_tune_job, TuningBench, "run_trials", {"search": ["learning_rate=[0.1, 0.2]"], "trials": 2}),
}


@pytest.fixture
def platform(settings: Settings, spec: DatasetSpec) -> Platform:
    """As in a pod, but that the store is a folder."""
    return dataclasses.replace(build_platform(settings, spec), folders_in_store=True)


def run(job: dg.JobDefinition, op: str, platform: Platform, **form: Any) -> dg.ExecuteInProcessResult:
    quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
    config = {"ops": {op: {"config": {"as_of": DAY, **form}}}, "loggers": quiet}
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(run_config=config, resources={"platform": platform}, instance=instance)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_says_where_its_pages_are_and_is_gone_on_with_in_another_pod(
    name: str,
    platform: Platform,
    spec: DatasetSpec,
    settings: Settings,
    tmp_path: Path,
    publish_day: Callable[..., Receipt],
):
    build, Bench, op, form = JOBS[name]
    bench = Bench(platform, spec, tmp_path, publish_day)
    pods = [settings.model_copy(update={"home": tmp_path / pod}) for pod in ("pod-1", "pod-2")]
    results = [run(build(pod, spec), op, bench.platform, **form) for pod in pods[:1]]
    assert len(bench.calls()) == 2
    results.append(run(build(pods[1], spec), op, bench.platform, **form))
    assert bench.calls() == []
    for result in results:
        [event] = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
        metadata = event.step_output_data.metadata
        (page,) = {str(metadata[key].value) for key in ("pages", "page") if key in metadata}
        location = platform.objects.location
        assert page.startswith(f"{location}/{'experiments' if name == EXPERIMENT else 'studies'}/")
        assert b"<html" in platform.objects.get_bytes(page.removeprefix(f"{location}/")).data
        if name == EXPERIMENT:
            assert "| MLP |" in str(metadata["a-cstwa-table-2"].value)
        else:
            assert str(metadata["trials"].value).endswith("/trials.csv")
    holder = platform.artifacts.open(next(iter(platform.artifacts.keys(form_key(name))))).manifest.metadata["kept_by"]
    assert str(holder).startswith(f"run {results[-1].run_id} on ")


def form_key(name: str) -> str:
    return "experiments/" if name == EXPERIMENT else "studies/"


def test_results_are_kept_where_the_store_is_no_folder_beside_them(settings: Settings, spec: DatasetSpec):
    pytest.importorskip("boto3", reason="boto3 is not installed: pip install -e .[s3]")
    in_bucket = settings.model_copy(update={"store": "s3://logs", "s3_region": "eu-central-1"})
    assert [build_platform(each, spec).folders_in_store for each in (settings, in_bucket)] == [False, True]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_whose_pod_was_lost_is_begun_again_and_a_laptops_is_not(name: str, settings: Settings, spec: DatasetSpec):
    build, _, op, _ = JOBS[name]
    in_pods = settings.model_copy(update={"executor": "kubernetes"})
    policies = [build(each, spec).graph.node_named(op).definition.retry_policy for each in (settings, in_pods)]
    assert policies[0] is None
    assert policies[1].max_retries >= 1


@pytest.mark.parametrize("name", JOBS)
def test_a_command_on_s3_is_gone_on_with_in_another_home(
    name: str,
    spec: DatasetSpec,
    tmp_path: Path,
    s3_endpoint: str,
    connect: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    bucket = connect(s3_endpoint).bucket
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = {"POSTCLICK_STORE": f"s3://{bucket}/team", "POSTCLICK_S3_ENDPOINT": s3_endpoint, "POSTCLICK_THREADS": "1"}
    _, Bench, _, _ = JOBS[name]
    given = {"home": tmp_path / "a", "store": store["POSTCLICK_STORE"], "s3_endpoint": s3_endpoint}
    platform = build_platform(read_settings({**given, "dataset": str(TINY)}), spec)
    bench = Bench(platform, spec, tmp_path, days_into(platform, tmp_path))
    # Children look there first for what they run, and a package goes before a folder of the same name.
    (bench.stand_in / "__init__.py").touch()
    monkeypatch.syspath_prepend(bench.stand_in.parent)
    arguments = {
        EXPERIMENT: ["--tables", "a", "--models", "mlp", "--seeds", "1", "--out", str(tmp_path / "out")],
        TUNE: ["--search", "learning_rate=[0.1, 0.2]", "--trials", "2", "--set", "epochs=1"],
    }[name]
    said: list[str] = []
    for home in ("a", "b"):
        environment = {**store, "POSTCLICK_HOME": str(tmp_path / home), "COLUMNS": "300"}
        result = CliRunner().invoke(app, [name, "--dataset", str(TINY), "--as-of", DAY, *arguments], env=environment)
        assert result.exit_code == 0, result.output
        said.append(result.output)
        assert len(bench.calls()) == (2 if home == "a" else 0)
        if name == EXPERIMENT:
            (tmp_path / "out").rename(tmp_path / f"out-{home}")
    assert all(f"kept in the store: s3://{bucket}/team/tiny/{form_key(name)}" in output for output in said)
    written = tmp_path / "out-b" if name == EXPERIMENT else tmp_path / "b" / "tiny" / "studies" / f"esmm-{DAY}"
    assert (written / INDEX_FILE).exists()


def days_into(platform: Platform, folder: Path) -> Callable[..., Receipt]:
    """The fixture `publish_day` for a platform that a test has made."""
    make: Any = publish_day
    return make.__wrapped__(platform, folder)
