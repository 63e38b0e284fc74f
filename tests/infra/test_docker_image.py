"""What the Dockerfile promises, read from its text and from what would be sent to a build; nothing is built here."""

import fnmatch
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "infra" / "docker" / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Each stage's name and instructions; what stands before the first is under the empty name."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for name, rest in instructions():
        if name == "FROM":
            found[rest.split(" AS ")[1]] = []
        found[list(found)[-1]].append((name, rest))
    return found


def only(stage: str, instruction: str) -> str:
    (found,) = [rest for name, rest in stages()[stage] if name == instruction]
    return found


def test_there_are_the_two_targets_of_one_runtime():
    for target in ("cpu", "cuda"):
        assert only(target, "FROM").startswith("runtime AS")
        assert only(target, "COPY") == f"--from=packages-{target} /opt/postclick/venv /opt/postclick/venv"
        assert [name for name, _ in stages()[target] if name in {"RUN", "USER", "ENTRYPOINT", "CMD"}] == []


def test_both_are_made_in_the_same_steps_but_for_torch():
    cpu, cuda = (
        [re.sub(r"(?i)cuda|cpu", "X", rest) for name, rest in stages()[f"packages-{target}"] if name != "ARG"]
        for target in ("cpu", "cuda")
    )
    assert cpu == cuda


def test_the_user_is_a_number_and_no_root():
    assert only("runtime", "USER") == "10001:10001"
    assert stages()["runtime"].index(("USER", "10001:10001")) > max(
        place for place, (name, _) in enumerate(stages()["runtime"]) if name == "RUN"
    )


def test_what_is_written_to_is_a_volume():
    volumes = json.loads(only("runtime", "VOLUME"))
    environment = dict(re.findall(r"(\w+)=(\S+)", only("runtime", "ENV")))
    assert {environment["POSTCLICK_HOME"], environment["DAGSTER_HOME"], environment["HOME"]} == set(volumes)
    assert environment["MPLCONFIGDIR"].startswith("/tmp/")


def test_the_code_server_is_the_default_and_is_asked_for_its_health_on_its_port():
    command = json.loads(only("runtime", "CMD"))
    health = json.loads(only("runtime", "HEALTHCHECK").partition(" CMD ")[2])
    assert command[:2] == ["postclick", "serve"]
    assert health[:3] == ["dagster", "api", "grpc-health-check"]
    assert command[command.index("--port") + 1] == health[health.index("--port") + 1] == "4000"
    assert json.loads(only("runtime", "ENTRYPOINT")) == ["tini", "--"], "any other command is run as it is given"


def test_labels_name_the_projects_version_and_licence():
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', only("runtime", "LABEL")))
    assert set(labels) >= {"title", "description", "licenses", "version", "revision"}
    assert (labels["title"], labels["licenses"]) == (PROJECT["name"], PROJECT["license"])
    assert ("ARG", f"VERSION={PROJECT['version']}") in stages()["runtime"]


def test_only_pinned_wheels_are_installed_and_nothing_is_compiled():
    assert "PIP_CONSTRAINT=/build/constraints.txt" in only("wheels", "ENV")
    installs = [part for _, rest in instructions() for part in rest.split("&&") if "pip install" in part]
    assert len(installs) == 6
    for install in installs:
        assert "--only-binary=:all:" in install or install.strip().endswith("--no-deps /build/source")
    assert not re.search(r"build-essential|\bgcc\b|g\+\+|-dev\b", " ".join(rest for _, rest in instructions()))


def test_the_requirements_are_the_projects_with_s3_and_kubernetes():
    script = ROOT / "infra" / "docker" / "requirements.py"
    command = [sys.executable, str(script), str(ROOT / "pyproject.toml"), "s3", "k8s"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    extras = PROJECT["optional-dependencies"]
    assert printed == [*PROJECT["dependencies"], *extras["s3"], *extras["k8s"]]
    assert "requirements.py pyproject.toml s3 k8s" in DOCKERFILE


def test_every_requirement_is_pinned():
    pinned = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    }
    wanted = [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["s3"],
        *PROJECT["optional-dependencies"]["k8s"],
    ]
    assert {re.split(r"[<>=\[]", requirement)[0] for requirement in wanted} <= pinned


def sent(path: str) -> bool:
    """Whether a build is sent this path: the last rule of .dockerignore that fits it, or a folder above it, decides."""
    excluded = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        rule = line.removeprefix("!")
        parts = path.split("/")
        above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        patterns = [rule, rule.removeprefix("**/")] if rule.startswith("**/") else [rule]
        if any(
            fnmatch.fnmatch(name.rpartition("/")[2] if rule.startswith("**/") else name, pattern)
            and (name.count("/") == pattern.count("/") or rule.startswith("**/"))
            for name in above
            for pattern in patterns
        ):
            excluded = not line.startswith("!")
    return not excluded


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".venv/bin/python",
        "infra/docker/Dockerfile",
        "infra/kubernetes/base/settings.env",
        "kubeconfig",
        "ml/.env",
        "ml/__pycache__/x.pyc",
        "tests/conftest.py",
        "var/demo/store/x",
    ],
)
def test_a_build_is_not_sent(path: str):
    assert not sent(path)


def test_a_build_is_sent_all_that_the_package_is_made_of():
    found = PROJECT["license-files"] + [PROJECT["readme"], "pyproject.toml", "constraints.txt"]
    found += ["infra/docker/requirements.py", "infra/dagster.yaml", "orchestration/definitions.py"]
    found += ["ml/data/specs/demo.yaml", "data_checks/rules.py", "assets/chain.py"]
    assert [path for path in found if not sent(path)] == []
