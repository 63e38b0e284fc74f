"""What a build of the images is sent, by the rules of .dockerignore: the package and no more; nothing is built here."""

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


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
    found += ["infra/dagster.yaml", "orchestration/definitions.py"]
    found += ["ml/data/specs/demo.yaml", "data_checks/rules.py", "assets/chain.py"]
    assert [path for path in found if not sent(path)] == []


def test_a_build_is_sent_all_that_the_dockerfile_copies():
    text = (ROOT / "infra" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY .*", text, re.MULTILINE) if "--from" not in line]
    named = {name for names in copied for name in names if name != "."}
    assert "infra/docker/requirements.py" in named
    assert [name for name in named if not (sent(name) and (ROOT / name).is_file())] == []


def test_of_what_lies_in_the_checkout_only_the_package_is_sent():
    found = {path.name for path in ROOT.iterdir() if sent(f"{path.name}/x" if path.is_dir() else path.name)}
    packages = {"orchestration", "assets", "ml", "data_checks", "infra"}
    assert found == packages | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
