"""The code location where steps run in pods: which of them ask for a GPU, by settings; a laptop loads none of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.chain import build_chain
from assets.partitions import GPU_POOL
from infra.kubernetes_tags import TAG
from ml.data.dataset import DatasetSpec
from orchestration.definitions import build_definitions
from orchestration.settings import Settings, SettingsInvalid, read_settings

ROOT = Path(__file__).parents[2]
TRAINS = {"ctr_embeddings", "cvr_model"}


def needs_client() -> None:
    pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")


def kubernetes(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"executor": "kubernetes", "device": "cuda", **changes})


def tags(op: Any) -> dict[str, Any]:
    return json.loads(op.tags[TAG]) if TAG in op.tags else {}


def asked(op: Any) -> dict[str, str]:
    return tags(op)["container_config"]["resources"]["limits"]


def ops(spec: DatasetSpec, settings: Settings) -> dict[str, Any]:
    chain = build_chain(spec, pods=settings.step_pods())
    return {key.to_user_string(): asset.op for asset in chain for key in asset.keys}


def test_training_steps_alone_ask_for_a_gpu_and_all_others_for_cores(spec: DatasetSpec, settings: Settings):
    found = ops(spec, kubernetes(settings, data_cpu="3", data_memory="6Gi"))
    assert {name for name, op in found.items() if "nvidia.com/gpu" in asked(op)} == TRAINS
    assert {name for name, op in found.items() if op.pool == GPU_POOL} == TRAINS
    for name in set(found) - TRAINS:
        assert asked(found[name]) == {"cpu": "3", "memory": "6Gi"}


def test_the_sizes_are_the_settings(spec: DatasetSpec, settings: Settings):
    own = kubernetes(
        settings,
        gpus="2",
        gpu_resource="amd.com/gpu",
        training_cpu="12",
        training_memory="64Gi",
        training_shared_memory="8Gi",
        gpu_node_selector="a=b,example.com/pool=gpu",
        gpu_priority_class="",
        pod_pending_seconds=100,
        pod_deadline_seconds=200,
        pod_grace_seconds=60,
    )
    found = tags(ops(spec, own)["cvr_model"])
    limits = found["container_config"]["resources"]["limits"]
    assert limits == {"cpu": "12", "memory": "64Gi", "amd.com/gpu": "2"}
    pod = found["pod_spec_config"]
    assert pod["node_selector"] == {"a": "b", "example.com/pool": "gpu"}
    assert pod["volumes"][0]["empty_dir"]["size_limit"] == "8Gi"
    assert pod["termination_grace_period_seconds"] == 60
    assert found["job_spec_config"]["active_deadline_seconds"] == 300
    assert "priority_class_name" not in pod


@pytest.mark.parametrize(("gpus", "count"), [(None, 0), ("0", 0), ("1", 1)])
def test_a_cpu_deployment_asks_for_a_gpu_only_where_it_is_told_to(
    spec: DatasetSpec, settings: Settings, gpus: str | None, count: int
):
    found = ops(spec, kubernetes(settings, device="cpu", gpus=gpus))
    assert sum("nvidia.com/gpu" in asked(op) for op in found.values()) == 2 * count


def test_a_lost_pod_is_retried_in_every_step_but_the_promotion(spec: DatasetSpec, settings: Settings):
    found = ops(spec, kubernetes(settings, step_retries=5))
    retries = {name: op.retry_policy.max_retries if op.retry_policy else 0 for name, op in found.items()}
    # Its record of a refused model would be written twice.
    assert retries.pop("promoted_model") == 0
    assert set(retries.values()) == {5}


def test_steps_of_a_laptop_have_no_tags_and_data_is_not_tried_again(spec: DatasetSpec, settings: Settings):
    found = ops(spec, settings)
    assert all(tags(op) == {} for op in found.values())
    retried = {name for name, op in found.items() if op.retry_policy}
    assert retried == {*TRAINS, "user_graph", "item_graph", "evaluation_report"}
    assert {found[name].retry_policy.max_retries for name in retried} == {1}


@pytest.mark.parametrize(("device", "has_gpu"), [("cpu", False), ("cuda", True)])
def test_jobs_that_train_many_models_take_the_gpu_where_there_is_one(settings: Settings, device: str, has_gpu: bool):
    needs_client()
    definitions = build_definitions(kubernetes(settings, device=device))
    for job, op_name in (("experiment", "run_tables"), ("tune", "run_trials")):
        op = definitions.resolve_job_def(job).graph.node_named(op_name).definition
        assert ("nvidia.com/gpu" in asked(op)) is has_gpu
        assert op.pools == ({GPU_POOL} if has_gpu else set())


def test_the_executor_of_every_job_is_kubernetes(settings: Settings):
    needs_client()
    definitions = build_definitions(kubernetes(settings))
    assert isinstance(definitions.executor, dg.ExecutorDefinition)
    assert definitions.executor.name == "kubernetes"
    assert definitions.resolve_job_def("backfill_models").executor_def.name == "kubernetes"


def test_a_laptop_loads_no_kubernetes_client(tmp_path: Path):
    program = (
        "import sys; from orchestration.definitions import build_definitions; "
        "from orchestration.settings import read_settings; build_definitions(read_settings()); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    own = {"POSTCLICK_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **own}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "dagster" in done.stdout.split()
    assert not {"kubernetes", "dagster_k8s"} & set(done.stdout.split())


def test_a_missing_client_is_named_with_its_remedy(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    for name in ("orchestration.kubernetes_executor", "orchestration.pod_steps", "orchestration.kubernetes_jobs"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "dagster_k8s", None)
    with pytest.raises(SettingsInvalid, match=r"dagster_k8s, which is not installed: pip install 'postclick\[k8s\]'"):
        build_definitions(kubernetes(settings))


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("POSTCLICK_GPUS", "half", "quantity"),
        ("POSTCLICK_GPUS", "-1", "quantity"),
        ("POSTCLICK_TRAINING_MEMORY", "16GiB", "quantity"),
        ("POSTCLICK_TRAINING_MEMORY", "16 Gi", "quantity"),
        ("POSTCLICK_DATA_CPU", "", "quantity"),
        ("POSTCLICK_GPU_RESOURCE", "gpu", "nvidia.com/gpu"),
        ("POSTCLICK_GPU_NODE_SELECTOR", "pool", "postclick/node-pool=gpu"),
        ("POSTCLICK_POD_GRACE_SECONDS", "20", "greater than or equal to 30"),
        ("POSTCLICK_POD_PENDING_SECONDS", "soon", "valid integer"),
    ],
)
def test_a_wrong_size_is_named_when_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, remedy: str
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid) as error:
        read_settings()
    assert str(error.value).startswith(f"{variable}: ")
    assert remedy in str(error.value)
    assert f"found {value!r}" in str(error.value)


@pytest.mark.parametrize("value", ["1", "0.5", "500m", "16Gi", "1e3", "2E", ".5", "12k"])
def test_what_kubernetes_takes_for_a_quantity_is_taken(value: str):
    assert read_settings({"training_cpu": value}).training_cpu == value


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch):
    for name, value in (("EXECUTOR", "kubernetes"), ("DEVICE", "cuda"), ("GPUS", "0")):
        monkeypatch.setenv(f"POSTCLICK_{name}", value)
    monkeypatch.setenv("WANDB_API_KEY", "a-key-that-nobody-may-see")
    with pytest.raises(SettingsInvalid, match="POSTCLICK_GPUS=0 asks for none") as error:
        read_settings()
    assert "nobody-may-see" not in str(error.value)


def test_an_instance_that_starts_no_pods_is_refused_with_the_remedy():
    needs_client()
    from orchestration.kubernetes_executor import kubernetes_executor

    executor = kubernetes_executor(read_settings())
    with dg.DagsterInstance.local_temp() as instance:
        context: Any = SimpleNamespace(instance=instance, executor_config={})
        assert executor.executor_creation_fn is not None
        with pytest.raises(Exception, match="this instance has DefaultRunLauncher: deploy with infra/kubernetes"):
            executor.executor_creation_fn(context)
