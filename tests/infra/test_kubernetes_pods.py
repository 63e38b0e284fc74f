"""What the pods of every overlay may do and use: the restricted Pod Security Standard, resources, probes, spread."""

import re
from typing import Any

import pytest

from tests.infra.kubernetes_manifests import (
    OVERLAYS,
    instance_config,
    named,
    objects,
    pod_templates,
    run_job,
    settings,
    step_job,
)

#: Volume kinds that the restricted standard allows.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SERVERS = {"postclick-code", "postclick-daemon", "postclick-webserver", "postclick-postgresql", "postclick-minio"}
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 1e-3, "": 1}


def amount(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


def violations(spec: dict[str, Any]) -> list[str]:
    """What of the restricted standard (and of a read-only root) a pod's spec breaks."""
    found = [f"spec.{name}" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    pod = spec.get("securityContext", {})
    found += [f"volume {volume['name']}" for volume in spec.get("volumes", []) if not VOLUMES & set(volume)]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        both = {**pod, **own}
        checks = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": isinstance(both.get("runAsUser"), int) and both["runAsUser"] > 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "privileged": not own.get("privileged"),
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
        }
        found += [f"{container['name']}.{name}" for name, holds in checks.items() if not holds]
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_keeps_to_the_restricted_standard(overlay: str):
    for name, template in pod_templates(overlay):
        assert violations(template["spec"]) == [], name
    levels = named(overlay, "Namespace", "postclick")["metadata"]["labels"]
    assert levels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(
    ("fault", "named_as"),
    [
        ({"securityContext": {}}, "daemon.runAsNonRoot"),
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}, "volume node"),
    ],
)
def test_the_check_sees_a_pod_that_breaks_the_standard(fault: dict[str, Any], named_as: str):
    spec = named("dev", "Deployment", "postclick-daemon")["spec"]["template"]["spec"]
    assert named_as in violations({**spec, **fault})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_asks_for_what_it_is_limited_to(overlay: str):
    for name, template in pod_templates(overlay):
        for container in template["spec"]["containers"]:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert set(requests) == set(limits) >= {"cpu", "memory"}, name
            for resource in requests:
                assert 0 < amount(requests[resource]) <= amount(limits[resource]), (name, resource)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_written_to_is_a_volume_of_bounded_size(overlay: str):
    for name, template in pod_templates(overlay):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for volume in volumes.values():
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], (name, volume["name"])
        for container in template["spec"]["containers"]:
            paths = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert "/tmp" in paths, name
            if "postclick-settings" in str(container.get("envFrom")) and name != "postclick-bucket":
                assert {"/var/lib/postclick", "/opt/dagster/dagster_home"} <= paths, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_server_is_probed(overlay: str):
    for item in objects(overlay):
        if item["kind"] in {"Deployment", "StatefulSet"}:
            assert item["metadata"]["name"] in SERVERS
            (container,) = item["spec"]["template"]["spec"]["containers"]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert {"grpc", "httpGet", "exec"} & set(container[probe]), item["metadata"]["name"]
                asked = container[probe].get("httpGet", {}).get("port")
                assert asked is None or asked in [port["name"] for port in container["ports"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_who_loads_the_run_launcher_holds_a_token(overlay: str):
    held = {name for name, template in pod_templates(overlay) if template["spec"]["automountServiceAccountToken"]}
    assert held == {"postclick-code", "postclick-daemon", "postclick-webserver", "run", "data-step", "training-step"}
    bindings = [item for item in objects(overlay) if item["kind"] == "RoleBinding"]
    may = {subject["name"] for binding in bindings for subject in binding["subjects"]}
    assert may == {"postclick-control", "postclick-runner"}, "the code server's token allows nothing"
    accounts = {item["metadata"]["name"] for item in objects(overlay) if item["kind"] == "ServiceAccount"}
    for name, template in pod_templates(overlay):
        account = template["spec"].get("serviceAccountName")
        assert account in accounts or (account is None and name in SERVERS | {"postclick-bucket"})


def test_there_is_one_daemon_and_one_code_server_and_the_web_servers_stand_apart():
    daemon = named("production", "Deployment", "postclick-daemon")["spec"]
    assert (daemon["replicas"], daemon["strategy"]["type"]) == (1, "Recreate")
    assert named("production", "Deployment", "postclick-code")["spec"]["replicas"] == 1
    web = named("production", "Deployment", "postclick-webserver")["spec"]
    assert web["replicas"] == 2
    labels = web["template"]["metadata"]["labels"]
    spec = web["template"]["spec"]
    (spread,) = spec["topologySpreadConstraints"]
    (apart,) = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    for selector in (spread["labelSelector"], apart["podAffinityTerm"]["labelSelector"]):
        assert selector["matchLabels"].items() <= labels.items()


def test_the_accounts_that_use_the_bucket_have_the_role_of_the_cloud_and_no_others():
    roles = {
        item["metadata"]["name"]: "eks.amazonaws.com/role-arn" in item["metadata"].get("annotations", {})
        for item in objects("production")
        if item["kind"] == "ServiceAccount"
    }
    assert roles == {"postclick-control": False, "postclick-code": True, "postclick-runner": True}


def test_training_asks_for_its_gpu_where_there_are_any_and_keeps_what_a_run_has():
    run = run_job("production")["spec"]["template"]["spec"]
    step = step_job("production", "training")["spec"]["template"]["spec"]
    resources = step["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"
    assert step["priorityClassName"] in {
        item["metadata"]["name"] for item in objects("production") if item["kind"] == "PriorityClass"
    }
    assert step["securityContext"] == run["securityContext"]
    assert [volume for volume in run["volumes"] if volume not in step["volumes"]] == []
    assert step["serviceAccountName"] == "postclick-runner"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_but_training_on_cuda_asks_for_a_gpu(overlay: str):
    asking = {
        name
        for name, template in pod_templates(overlay)
        if "nvidia.com/gpu" in template["spec"]["containers"][0]["resources"]["limits"]
    }
    assert asking == ({"training-step"} if settings(overlay)["POSTCLICK_DEVICE"] == "cuda" else set())


@pytest.mark.parametrize("overlay", ["dev", "minio-dev"])
def test_a_laptop_holds_the_servers_and_a_training(overlay: str):
    needed = dict.fromkeys(("cpu", "memory"), 0.0)
    for name, template in pod_templates(overlay):
        if name != "data-step":
            for resource in needed:
                needed[resource] += amount(template["spec"]["containers"][0]["resources"]["requests"][resource])
    assert needed["cpu"] <= 4
    assert needed["memory"] <= 10 * 2**30


@pytest.mark.parametrize("field", ["service_account_name", "host_network", "containers"])
def test_a_tag_typed_into_the_launchpad_cannot_change_who_a_run_is(field: str):
    import json

    value = {"service_account_name": "postclick-control", "host_network": True, "containers": []}[field]
    with pytest.raises(Exception, match=f"violated the allowed list: pod_spec_config.{field}"):
        run_job("dev", tags={"dagster-k8s/config": json.dumps({"pod_spec_config": {field: value}})})


def test_a_tag_typed_into_the_launchpad_may_change_what_a_run_is_given():
    import json

    more = {"container_config": {"resources": {"limits": {"memory": "8Gi"}}}}
    spec = run_job("dev", tags={"dagster-k8s/config": json.dumps(more)})["spec"]["template"]["spec"]
    assert spec["containers"][0]["resources"]["limits"]["memory"] == "8Gi"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_step_has_time_to_write_its_checkpoint_and_is_left_alone_by_tidying_autoscalers(overlay: str):
    template = run_job(overlay)["spec"]["template"]
    assert template["spec"]["terminationGracePeriodSeconds"] >= 60
    assert template["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert run_job(overlay)["spec"]["backoffLimit"] == 0
    assert instance_config(overlay)["run_monitoring"]["max_resume_run_attempts"] > 0
