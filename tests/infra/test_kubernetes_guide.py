"""The guide of the manifests names what they expect: secrets, roles, labels, numbers, paths."""

import json
import re
import subprocess
import sys

import yaml

from infra.s3_policy import feed_policy
from ml.data.source_spec import ImpressionTable
from orchestration.settings import Settings
from tests.infra.kubernetes_manifests import (
    KUBERNETES,
    NAMESPACE,
    OVERLAYS,
    named,
    pod_templates,
    settings,
    step_job,
)

#: Secrets that the guide tells to create.
SECRETS = {"postclick-postgresql", "postclick-s3", "postclick-wandb", "postclick-alerts"}
GUIDE = (KUBERNETES / "README.md").read_text(encoding="utf-8")


def test_the_guide_names_every_secret_with_its_keys_and_no_others():
    rows = re.findall(r"^\| `(postclick-\w+)` \| (.*?) \|", GUIDE, re.MULTILINE)
    assert {name for name, _ in rows} == SECRETS
    keys = dict(rows)
    for overlay in OVERLAYS:
        for _, template in pod_templates(overlay):
            for container in template["spec"]["containers"]:
                for entry in container.get("env", []):
                    reference = entry.get("valueFrom", {}).get("secretKeyRef")
                    assert reference is None or f"`{reference['key']}`" in keys[reference["name"]]


def test_the_guide_names_what_production_expects():
    found = settings("production")
    values = [
        f"POSTCLICK_STORE={found['POSTCLICK_STORE']}",
        f"AWS_DEFAULT_REGION={found['AWS_DEFAULT_REGION']}",
        named("production", "ServiceAccount", "postclick-runner")["metadata"]["annotations"][
            "eks.amazonaws.com/role-arn"
        ],
        named("production", "NetworkPolicy", "to-database")["spec"]["egress"][0]["to"][0]["ipBlock"]["cidr"],
        f"database `{found['DAGSTER_PG_DB']}`, user `{found['DAGSTER_PG_USERNAME']}`, port {found['DAGSTER_PG_PORT']}",
        found["DAGSTER_CURRENT_IMAGE"].partition(":")[0],
    ]
    step = step_job("production", "training")["spec"]["template"]["spec"]
    values += [f"label `{name}={value}`" for name, value in step["nodeSelector"].items()]
    values += [f"taint `{found['key']}=present:{found['effect']}`" for found in step["tolerations"]]
    for account in ("postclick-runner", "postclick-code"):
        values.append(f"system:serviceaccount:{NAMESPACE}:{account}")
    (peer,) = named("production", "NetworkPolicy", "webserver")["spec"]["ingress"][0]["from"]
    values += [f"`{name}={value}`" for name, value in peer["namespaceSelector"]["matchLabels"].items()]
    assert [value for value in values if value not in GUIDE] == []


def test_the_guides_paths_are_there():
    found = set(re.findall(r"infra/[\w./-]+", GUIDE)) | {
        f"infra/kubernetes/{path}" for path in re.findall(r"`(base/[\w.]+)`", GUIDE)
    }
    assert len(found) > 4
    for path in found:
        assert (KUBERNETES.parents[1] / path).exists(), path


def test_the_guide_gives_the_pool_as_many_places_as_the_quota_has_gpus():
    quota = named("production", "ResourceQuota", "postclick-gpu")["spec"]["hard"]["requests.nvidia.com/gpu"]
    assert f"dagster instance concurrency set gpu {quota}" in GUIDE


def test_the_guides_raw_logs_are_read_with_the_rights_that_it_gives_and_the_settings_there_are():
    section = GUIDE.partition("## Raw logs")[2].partition("\n## ")[0]
    [spec] = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    impressions = ImpressionTable.model_validate(yaml.safe_load(spec)["source"]["impressions"])
    [program] = re.findall(r"\.venv/bin/python -c '(.*)' >", section)
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=KUBERNETES.parents[1], check=True, capture_output=True, text=True
    )
    bucket, _, name = impressions.path.removeprefix("s3://").partition("/")
    policy = json.loads(answer.stdout)
    assert policy == feed_policy(bucket, name.partition("/")[0])
    [below] = policy["Statement"][1]["Condition"]["StringLike"].values()
    assert name.startswith(below.removesuffix("*"))
    named = set(re.findall(r"POSTCLICK_(\w+)", section))
    assert {f"FEED_S3_{setting}" for setting in ("ENDPOINT", "REGION", "PATH_STYLE")} <= named
    assert {setting.lower() for setting in named} <= Settings.model_fields.keys()
    runs = yaml.safe_load((KUBERNETES / "base" / "dagster.yaml").read_text(encoding="utf-8"))["run_launcher"]["config"]
    sizes = {volume["name"]: volume.get("empty_dir", {}).get("size_limit") for volume in runs["volumes"]}
    assert f"`postclick-home`, {sizes['postclick-home'].removesuffix('Gi')} GiB" in section
