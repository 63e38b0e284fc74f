"""The rendered manifests as the tests read them: objects, pods, and the pod that a run gets; no assertions."""

import copy
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import yaml

from infra.kubernetes_tags import TAG
from orchestration.settings import Settings

KUBERNETES = Path(__file__).resolve().parents[2] / "infra" / "kubernetes"
OVERLAYS = ("dev", "minio-dev", "production")
NAMESPACE = "postclick"


def needs_kubectl() -> str:
    """The path of kubectl; the test is skipped where there is none."""
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not on PATH: it renders the manifests (kubectl kustomize)")
    return found


@cache
def rendered(overlay: str) -> str:
    """The overlay's objects as YAML, as `kubectl kustomize` renders them."""
    command = [needs_kubectl(), "kustomize", str(KUBERNETES / "overlays" / overlay)]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


@cache
def _parsed(overlay: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(rendered(overlay)) if found]


def objects(overlay: str) -> list[dict[str, Any]]:
    """The overlay's objects, fresh at every call."""
    return copy.deepcopy(_parsed(overlay))


def named(overlay: str, kind: str, name: str) -> dict[str, Any]:
    """The overlay's one object of that kind and name."""
    (found,) = [item for item in objects(overlay) if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def pod_templates(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and pod template of everything in the overlay that makes pods, and of what runs and their steps get."""
    for item in objects(overlay):
        if "template" in item.get("spec", {}):
            yield item["metadata"]["name"], item["spec"]["template"]
    yield "run", run_job(overlay)["spec"]["template"]
    yield "data-step", step_job(overlay, "other")["spec"]["template"]
    yield "training-step", step_job(overlay, "training")["spec"]["template"]


def settings(overlay: str) -> dict[str, str]:
    """What the pods get from the ConfigMap of settings."""
    return named(overlay, "ConfigMap", "postclick-settings")["data"]


def read(overlay: str) -> Settings:
    """The settings as the code reads them in a pod of the overlay."""
    values = {name: value for name, value in settings(overlay).items() if name.startswith("POSTCLICK_")}
    fields = {name.removeprefix("POSTCLICK_").lower(): value for name, value in values.items()}
    assert set(fields) <= set(Settings.model_fields), "a setting that nobody reads"
    return Settings(**fields)  # type: ignore[arg-type]


def instance_config(overlay: str) -> dict[str, Any]:
    """dagster.yaml as it is mounted."""
    return yaml.safe_load(named(overlay, "ConfigMap", "postclick-dagster")["data"]["dagster.yaml"])


def instance_environment(overlay: str) -> dict[str, str]:
    """The variables that dagster.yaml reads in a pod, with a password that the tests made up."""
    return {**settings(overlay), "POSTCLICK_NAMESPACE": NAMESPACE, "DAGSTER_PG_PASSWORD": "made-up"}


def run_job(
    overlay: str, *, step: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The Job that Dagster's own launcher makes of the overlay's dagster.yaml, for a run or for a step."""
    pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")
    import dagster_k8s.launcher
    from dagster import DagsterRun
    from dagster._config import process_config
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    with pytest.MonkeyPatch.context() as patch:
        for name, value in instance_environment(overlay).items():
            patch.setenv(name, value)
        patch.setattr(dagster_k8s.launcher, "load_kubernetes_config", lambda **_: None)
        launcher_class = dagster_k8s.launcher.K8sRunLauncher
        config = process_config(launcher_class.config_type(), instance_config(overlay)["run_launcher"]["config"])
        assert config.success, config.errors
        launcher = launcher_class(**cast(dict[str, Any], config.value))
        run = DagsterRun(job_name="daily_model", run_id="0" * 8, tags=dict(tags or {}))
        context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=True)
        if step:
            context = context.merge(K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(step)))
        job = construct_dagster_k8s_job(
            context.get_k8s_job_config(settings(overlay)["DAGSTER_CURRENT_IMAGE"], launcher),
            ["dagster", "api", "execute_run"],
            "dagster-run-00000000",
            user_defined_k8s_config=context.run_k8s_config,
            component="step_worker" if step else "run_worker",
        )
    made = cast(dict[str, Any], ApiClient().sanitize_for_serialization(job))
    made["metadata"] |= {"namespace": context.namespace, "name": "dagster-step" if step else "dagster-run"}
    return made


def step_job(overlay: str, kind: Literal["training", "other"]) -> dict[str, Any]:
    """The Job of a step that trains, or of any other, with the tags that the code gives it under the settings."""
    tags = getattr(read(overlay).step_pods(), kind)[TAG]
    return run_job(overlay, step=tags)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector of Kubernetes (matchLabels, matchExpressions with In) takes these labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    expressions = selector.get("matchExpressions", [])
    assert all(rule["operator"] == "In" for rule in expressions), "the tests read In alone"
    return all(labels.get(rule["key"]) in rule["values"] for rule in expressions)


def project_version() -> str:
    """The version that pyproject.toml names."""
    import tomllib

    return tomllib.loads((KUBERNETES.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
