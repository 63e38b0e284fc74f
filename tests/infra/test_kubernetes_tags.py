"""The tags of steps, as dagster-k8s makes Jobs of them: asked for once, within limits, valid for Kubernetes."""

import json
from typing import Any

import pytest

from infra.kubernetes_tags import TAG, GpuNodes, PodLimits, step_tags, training_tags

LIMITS = PodLimits(wait=600, work=3600, grace=90, kept=7200)
GPUS = GpuNodes(quantity="2", selector={"postclick/node-pool": "gpu"}, priority_class="postclick-gpu")


def training(gpus: GpuNodes | None) -> dict[str, Any]:
    return training_tags(cpu="4", memory="16Gi", shared_memory="2Gi", limits=LIMITS, gpus=gpus)


def made(tags: dict[str, Any]) -> dict[str, Any]:
    """The Job that dagster-k8s makes of a step with these tags, on top of what a launcher gives every pod."""
    pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import (
        DagsterK8sJobConfig,
        UserDefinedDagsterK8sConfig,
        construct_dagster_k8s_job,
        get_user_defined_k8s_config,
    )
    from kubernetes.client import ApiClient

    launcher = K8sContainerContext(
        service_account_name="runner",
        volumes=[{"name": "scratch", "empty_dir": {"size_limit": "8Gi"}}],
        volume_mounts=[{"name": "scratch", "mount_path": "/tmp"}],
        resources={"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        security_context={"read_only_root_filesystem": True},
        run_k8s_config=UserDefinedDagsterK8sConfig(pod_spec_config={"termination_grace_period_seconds": 30}),
    )
    own = get_user_defined_k8s_config({TAG: json.dumps(tags[TAG])})
    context = launcher.merge(K8sContainerContext(run_k8s_config=own))
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image="postclick:cuda", dagster_home="/home"),
        ["dagster", "api", "execute_step"],
        "dagster-step-0",
        user_defined_k8s_config=context.run_k8s_config,
        component="step_worker",
    )
    return ApiClient().sanitize_for_serialization(job)


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


def test_a_training_step_asks_for_what_it_is_limited_to_and_for_its_gpus():
    job = made(training(GPUS))
    asked = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "2"}
    assert container(job)["resources"] == {"requests": asked, "limits": asked}
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"postclick/node-pool": "gpu"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["priorityClassName"] == "postclick-gpu"


def test_its_shared_memory_has_a_size_and_its_launchers_volumes_stay():
    job = made(training(GPUS))
    volumes = {volume["name"]: volume["emptyDir"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes == {"scratch": {"sizeLimit": "8Gi"}, "shared-memory": {"medium": "Memory", "sizeLimit": "2Gi"}}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(job)["volumeMounts"]}
    assert mounts == {"scratch": "/tmp", "shared-memory": "/dev/shm"}
    assert container(job)["securityContext"] == {"readOnlyRootFilesystem": True}


def test_without_gpus_it_may_run_on_any_node():
    job = made(training(None))
    assert set(container(job)["resources"]["limits"]) == {"cpu", "memory"}
    assert not {"nodeSelector", "tolerations", "priorityClassName"} & set(job["spec"]["template"]["spec"])


def test_other_steps_ask_for_cores_and_memory_alone():
    job = made(step_tags(cpu="500m", memory="2Gi", limits=LIMITS))
    asked = {"cpu": "500m", "memory": "2Gi"}
    assert container(job)["resources"] == {"requests": asked, "limits": asked}
    assert "shared-memory" not in str(job)


@pytest.mark.parametrize("tags", [training(GPUS), training(None), step_tags(cpu="1", memory="1Gi", limits=LIMITS)])
def test_no_job_begins_a_pod_again_and_each_ends_in_time(tags: dict[str, Any]):
    spec = made(tags)["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] == 600 + 3600
    assert spec["ttlSecondsAfterFinished"] == 7200
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 90
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("tags", [training(GPUS), training(None), step_tags(cpu="1", memory="1Gi", limits=LIMITS)])
def test_the_job_is_valid_for_kubernetes(tags: dict[str, Any]):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validate.validate(made(tags), validate.latest_version(), strict=True)


def test_a_misspelt_field_would_be_seen():
    tags = training(GPUS)
    tags[TAG]["pod_spec_config"]["node_selectors"] = {}
    pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")
    with pytest.raises(Exception, match="node_selectors"):
        made(tags)


def test_other_devices_are_named_by_their_resource_and_an_empty_selector_is_none():
    pod = made(training(GpuNodes(quantity="1", resource="amd.com/gpu")))["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["amd.com/gpu"] == "1"
    assert pod["tolerations"][0]["key"] == "amd.com/gpu"
    assert "nodeSelector" not in pod
    assert "priorityClassName" not in pod
