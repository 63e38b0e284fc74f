"""What the Dockerfile promises, read from its text; nothing is built here."""

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
    (found,) = every(stage, instruction)
    return found


def every(stage: str, instruction: str) -> list[str]:
    return [rest for name, rest in stages()[stage] if name == instruction]


def made_from(stage: str) -> set[str]:
    """The stage itself and all others that it is built on or copies from, by however many steps."""
    found = {stage}
    for name, rest in stages()[stage]:
        source = re.match(r"(?:--from=)?([\w-]+) ", rest) if name in {"FROM", "COPY"} else None
        if source and source[1] in stages():
            found |= made_from(source[1])
    return found


def test_there_are_the_two_targets_of_one_runtime():
    for target in ("cpu", "cuda"):
        assert only(target, "FROM").startswith("runtime AS")
        assert [name for name, _ in stages()[target] if name in {"RUN", "USER", "ENTRYPOINT", "CMD"}] == []


def test_both_are_made_in_the_same_steps_but_for_torch_and_its_cuda_libraries():
    for kind in ("packages-", "smaller-packages-", ""):
        cpu, cuda = (
            [re.sub(r"(?i)cuda|cpu", "X", rest) for name, rest in stages()[kind + target] if name not in {"ARG", "ENV"}]
            for target in ("cpu", "cuda")
        )
        assert cpu == [step for step in cuda if not step.endswith("/nvidia $PACKAGES/nvidia")]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_change_of_code_changes_the_last_layer_alone(target: str):
    copied = every(target, "COPY")
    assert copied[-1] == "--from=project /build/project /opt/postclick/venv"
    for step in copied[:-1]:
        stage = step.removeprefix("--from=").partition(" ")[0]
        read = {
            source for made in made_from(stage) for source in every(made, "COPY") if not source.startswith("--from")
        }
        assert read == {
            "pyproject.toml infra/docker/requirements.py /build/",
            "constraints.txt /build/",
            "infra/docker/cut_down.py /build/",
        }
    assert only("project", "COPY") == ". /build/source"


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_packages_are_installed_anew_only_when_a_requirement_changes(target: str):
    steps = [rest for _, rest in stages()[f"packages-{target}"]]
    torch, others = (place for place, step in enumerate(steps) if "pip install" in step)
    assert "--requirement torch.txt" in steps[torch]
    assert torch < steps.index("constraints.txt /build/") < others < steps.index("infra/docker/cut_down.py /build/")
    assert every("wheels", "COPY") == ["--from=requirements /build/torch.txt /build/"]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_what_differs_with_every_commit_is_named_after_the_layers(target: str):
    names = [name for name, _ in stages()[target]]
    late = [place for place, (name, rest) in enumerate(stages()[target]) if "REVISION" in rest or "VERSION" in rest]
    assert len(late) == 3
    assert min(late) > max(place for place, name in enumerate(names) if name == "COPY")
    assert not re.search("REVISION|VERSION", " ".join(rest for _, rest in stages()["runtime"]))


def test_each_package_lies_in_one_layer_and_none_is_left_out():
    libraries = {"cpu": {"$PACKAGES/torch"}, "cuda": {"$PACKAGES/torch", "$PACKAGES/nvidia"}}
    for target, large in libraries.items():
        assert set(every(target, "COPY")[:-2]) == {f"--from=packages-{target} {path} {path}" for path in large}
        assert every(target, "COPY")[-2] == f"--from=smaller-packages-{target} /opt/postclick/venv /opt/postclick/venv"
        removed = set(only(f"smaller-packages-{target}", "RUN").removeprefix("rm -rf ").split())
        assert removed == libraries["cuda"], "torch's CPU build brings no folder `nvidia`"


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
    for target in ("cpu", "cuda"):
        text = only("runtime", "LABEL") + only(target, "LABEL")
        labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', text))
        assert set(labels) >= {"title", "description", "licenses", "version", "revision"}
        assert (labels["title"], labels["licenses"]) == (PROJECT["name"], PROJECT["license"])
        assert (labels["version"], labels["revision"]) == ("$VERSION", "$REVISION")
        assert ("ARG", f"VERSION={PROJECT['version']}") in stages()[target]


def test_only_pinned_wheels_are_installed_and_nothing_is_compiled():
    installs = [part for _, rest in instructions() for part in rest.split("&&") if "pip install" in part]
    assert len(installs) == 5
    for install in installs:
        if "/build/source" in install:
            assert "--no-deps --prefix /build/project" in install
            assert "PIP_CONSTRAINT=/build/source/constraints.txt" in install, (
                "setuptools, which builds it, is pinned too"
            )
        else:
            assert "--only-binary=:all:" in install
            assert "--constraint constraints.txt" in install or install.endswith("--requirement torch.txt")
    assert "grep ^torch== requirements.txt > torch.txt" in only("requirements", "RUN")
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
