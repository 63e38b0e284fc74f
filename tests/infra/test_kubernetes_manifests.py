"""Every overlay's objects by themselves: schema, names, images, secrets, settings; no server is asked."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.kubernetes_manifests import (
    KUBERNETES,
    NAMESPACE,
    OVERLAYS,
    instance_config,
    instance_environment,
    named,
    objects,
    pod_templates,
    project_version,
    read,
    rendered,
    run_job,
    selects,
    settings,
    step_job,
)

#: Secrets that the manifests name and their README tells to create; which of them a pod can start without.
SECRETS = {"postclick-postgresql": False, "postclick-s3": True, "postclick-wandb": True, "postclick-alerts": True}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_keeps_to_the_newest_schema(overlay: str):
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for found in [*objects(overlay), run_job(overlay)]:
        validator.validate(found, validator.latest_version(), strict=True)


def test_the_schema_check_sees_a_misspelt_field():
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    found = named("dev", "Deployment", "postclick-daemon")
    found["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(validator.ValidationError):
        validator.validate(found, validator.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_objects_are_in_the_namespace_and_have_one_name_each(overlay: str):
    found = objects(overlay)
    keys = [(item["kind"], item["metadata"]["name"]) for item in found]
    assert len(set(keys)) == len(keys)
    for item in found:
        where = item["metadata"].get("namespace")
        assert where == (None if item["kind"] in CLUSTER_WIDE else NAMESPACE), item["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_of_one_repository_and_of_the_projects_version(overlay: str):
    images = {
        container["image"] for _, template in pod_templates(overlay) for container in template["spec"]["containers"]
    }
    own = {image for image in images if re.search(r"(^|/)postclick:", image)}
    assert settings(overlay)["DAGSTER_CURRENT_IMAGE"] in own
    assert len({image.rpartition(":")[0] for image in own}) == 1
    assert {image.rpartition(":")[2] for image in own} <= {f"{project_version()}-cpu", f"{project_version()}-cuda"}
    for image in images:
        assert re.search(r":[\w.-]+$", image), f"{image} has no tag"
        assert not image.endswith(":latest")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_runs_have_cuda_exactly_where_models_are_trained_on_it(overlay: str):
    assert settings(overlay)["DAGSTER_CURRENT_IMAGE"].endswith(settings(overlay)["POSTCLICK_DEVICE"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_named_and_never_given(overlay: str):
    assert "Secret" not in {item["kind"] for item in objects(overlay)}
    for name, template in pod_templates(overlay):
        for container in template["spec"]["containers"]:
            for entry in container.get("env", []):
                reference = entry.get("valueFrom", {}).get("secretKeyRef")
                if re.search(r"PASSWORD|SECRET|KEY|TOKEN|WEBHOOK", entry["name"]):
                    assert reference, f"{name}: {entry['name']} is written down"
                if reference:
                    assert reference["name"] in SECRETS
            for source in container.get("envFrom", []):
                if "secretRef" in source and name != "postclick-bucket":
                    assert source["secretRef"].get("optional", False) is SECRETS[source["secretRef"]["name"]]
    for key, value in settings(overlay).items():
        assert not re.search(r"PASSWORD|SECRET|API_KEY|ACCESS_KEY|TOKEN|WEBHOOK", key), key
        assert "@" not in value, f"{key} looks like an address with a password"
    # The long random texts that keys are made of; names, paths and prose are not.
    assert not re.findall(
        r"(?<![\w/.-])(?=[A-Za-z0-9+/]*\d)(?=[A-Za-z0-9+/]*[a-z])[A-Za-z0-9+/]{32,}", rendered(overlay)
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_those_that_the_code_reads(overlay: str):
    found = read(overlay)
    assert (found.home, found.executor) == (Path("/var/lib/postclick"), "kubernetes")
    assert found.store == settings(overlay).get("POSTCLICK_STORE")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_steps_job_is_what_the_schema_knows(overlay: str):
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for kind in ("training", "other"):
        validator.validate(step_job(overlay, kind), validator.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_dagster_reads_the_instance_and_the_workspace(overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("dagster_postgres", reason="dagster-postgres is not installed: pip install -e .[k8s]")
    from dagster._config import process_config
    from dagster._core.instance.config import dagster_instance_config
    from dagster._core.storage.config import pg_config
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    for name, value in instance_environment(overlay).items():
        monkeypatch.setenv(name, value)
    for name, text in named(overlay, "ConfigMap", "postclick-dagster")["data"].items():
        (tmp_path / name).write_text(text)
    config: Any = dagster_instance_config(str(tmp_path))[0]
    assert config["run_monitoring"]["enabled"] is True
    assert config["telemetry"]["enabled"] is False
    storage: Any = process_config(pg_config(), instance_config(overlay)["storage"]["postgres"])
    assert storage.success, storage.errors
    assert storage.value["postgres_db"]["hostname"] == settings(overlay)["DAGSTER_PG_HOST"]
    origin: Any
    (origin,) = location_origins_from_yaml_paths([str(tmp_path / "workspace.yaml")])
    server = named(overlay, "Service", "postclick-code")
    assert (origin.host, origin.port) == (server["metadata"]["name"], server["spec"]["ports"][0]["port"])
    assert origin.location_name == "postclick"
    code = named(overlay, "Deployment", "postclick-code")["spec"]["template"]["spec"]["containers"][0]
    assert "--location-name=postclick" in code["args"]


def test_devs_instance_differs_from_the_others_by_its_store_alone():
    base, dev = (
        yaml.safe_load((KUBERNETES / folder / "dagster.yaml").read_text(encoding="utf-8"))
        for folder in ("base", "overlays/dev")
    )
    stores = [
        [volume for volume in config["run_launcher"]["config"]["volumes"] if volume["name"] == "postclick-home"]
        for config in (base, dev)
    ]
    assert stores[1] == [{"name": "postclick-home", "persistent_volume_claim": {"claim_name": "postclick-home"}}]
    dev["run_launcher"]["config"]["volumes"] = [
        stores[0][0] if volume == stores[1][0] else volume for volume in dev["run_launcher"]["config"]["volumes"]
    ]
    assert dev == base


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_store_is_s3_or_a_volume_that_outlives_the_pods(overlay: str):
    for name, template in pod_templates(overlay):
        if name in {"postclick-code", "run", "data-step", "training-step"}:
            (home,) = [volume for volume in template["spec"]["volumes"] if volume["name"] == "postclick-home"]
            assert ("persistentVolumeClaim" in home) is ("POSTCLICK_STORE" not in settings(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_as_many_gpu_pods_may_be_asked_for_as_the_pool_has_places(overlay: str):
    places = instance_config(overlay)["concurrency"]["pools"]["default_limit"]
    quota = int(named(overlay, "ResourceQuota", "postclick-gpu")["spec"]["hard"]["requests.nvidia.com/gpu"])
    # Production has more GPUs than the file: `dagster instance concurrency set gpu` raises the pool there.
    assert quota >= places or settings(overlay)["POSTCLICK_DEVICE"] == "cpu"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_budgets_and_services_select_pods_that_there_are(overlay: str):
    labels = {name: template["metadata"]["labels"] for name, template in pod_templates(overlay)}
    for item in objects(overlay):
        if item["kind"] in {"PodDisruptionBudget", "Service"}:
            selector = item["spec"]["selector"]
            wanted = selector if item["kind"] == "PodDisruptionBudget" else {"matchLabels": selector}
            assert [name for name, found in labels.items() if selects(wanted, found)] == [item["metadata"]["name"]]


def test_nothing_but_postclicks_own_may_be_read_by_the_roles():
    for overlay in OVERLAYS:
        for item in objects(overlay):
            assert item["kind"] not in {"ClusterRole", "ClusterRoleBinding"}
            for rule in item.get("rules", []):
                assert not {"*", "secrets", "pods/exec", "configmaps"} & {*rule["resources"], *rule["verbs"]}
