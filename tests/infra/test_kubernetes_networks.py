"""Who may talk to whom, by the network policies of every overlay; a plugin that enforces them is not at hand."""

from typing import Any

import pytest

from tests.infra.kubernetes_manifests import (
    OVERLAYS,
    objects,
    pod_templates,
    selects,
)


def policies(overlay: str) -> list[dict[str, Any]]:
    return [item["spec"] for item in objects(overlay) if item["kind"] == "NetworkPolicy"]


def reaches(overlay: str, source: dict[str, str], target: dict[str, str], port: int) -> bool:
    """Whether the policies let a pod of the namespace talk to another: both ends must allow it."""

    def allowed(pod: dict[str, str], peer: dict[str, str], direction: str, field: str) -> bool:
        for policy in policies(overlay):
            if direction not in policy["policyTypes"] or not selects(policy["podSelector"], pod):
                continue
            for rule in policy.get(direction.lower(), []):
                peers = [entry["podSelector"] for entry in rule[field] if "podSelector" in entry]
                if any(selects(entry, peer) for entry in peers) and port in {found["port"] for found in rule["ports"]}:
                    return True
        return False

    return allowed(source, target, "Egress", "to") and allowed(target, source, "Ingress", "from")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_reach_what_they_need_and_nothing_else(overlay: str):
    labels = {name: template["metadata"]["labels"] for name, template in pod_templates(overlay)}
    assert labels.pop("data-step")["app.kubernetes.io/name"] == labels["run"]["app.kubernetes.io/name"]
    assert labels.pop("training-step")["app.kubernetes.io/name"] == labels["run"]["app.kubernetes.io/name"]
    clients = {"postclick-webserver", "postclick-daemon", "run"}
    wanted = {(name, "postclick-code", 4000) for name in clients}
    if "postclick-postgresql" in labels:
        wanted |= {(name, "postclick-postgresql", 5432) for name in [*clients, "postclick-code"]}
    if "postclick-minio" in labels:
        wanted |= {(name, "postclick-minio", 9000) for name in ["run", "postclick-code", "postclick-bucket"]}
    found = {
        (source, target, port)
        for source in labels
        for target in labels
        for port in (3000, 4000, 5432, 9000)
        if reaches(overlay, labels[source], labels[target], port)
    }
    assert found == wanted


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_denied_first(overlay: str):
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies(overlay)
    for policy in policies(overlay):
        for rule in policy.get("egress", []):
            for peer in rule["to"]:
                if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                    assert peer["ipBlock"]["except"] == ["169.254.0.0/16"], "where nodes hand out credentials"
