"""A pod's container as a folder and an environment, with its volumes and references resolved; it runs nothing."""

import base64
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Read = Callable[[str, str], "dict[str, Any] | None"]
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
_FACTORS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class CannotStart(Exception):
    """What the pod needs is not there (yet), in a kubelet's words."""


@dataclass
class PodFolder:
    """The container's own files below `root`, its whole environment and its command.

    writable: the folders that it may write to where its root is read-only, None where it is not.

    Everything that the pod mounts lies at the same path below `root`; values that name such a path are changed to it,
    as no process can be given a root of its own without an image.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    writable: list[Path] | None = None


def prepare(pod: Mapping[str, Any], root: Path, *, read: Read, server: str, image: Mapping[str, str]) -> PodFolder:
    """Lay the pod's first container out.

    read: a ConfigMap or Secret of the pod's namespace by kind and name, None if it is absent. server: the address of
    the API server. image: the environment that the image sets. Raises CannotStart.
    """
    container = pod["spec"]["containers"][0]
    mounts = sorted(container.get("volumeMounts", []), key=lambda mount: len(mount["mountPath"]))
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    for mount in mounts:
        _mount(volumes[mount["name"]], mount, root, read)
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    made = PodFolder(root=root)
    variables = {**image, **_variables(pod, container, read)}
    paths = {mount["mountPath"] for mount in mounts} - {"/dev/shm"}
    longest_first = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
    begins = re.compile(f"(^|=)({longest_first})(?=/|$)")

    def below(value: str) -> str:
        return begins.sub(lambda found: f"{found[1]}{root}{found[2]}", value) if paths else value

    made.environment = {
        **{name: below(value) for name, value in variables.items()},
        "HOME": str(root / "tmp"),
        "TMPDIR": str(root / "tmp"),
        "HOSTNAME": pod["metadata"]["name"],
        "PWD": str(root),
    }
    if _TOKEN in paths:
        made.environment["KUBECONFIG"] = str(_kubeconfig(root, server))
    if (container.get("securityContext") or {}).get("readOnlyRootFilesystem"):
        emptied = [mount["mountPath"] for mount in mounts if "emptyDir" in volumes[mount["name"]]]
        made.writable = [root / path.lstrip("/") for path in emptied if path != "/dev/shm"]
    made.command = [below(word) for word in [*container.get("command", []), *container.get("args", [])]]
    return made


def quantity(text: str) -> float:
    """A Kubernetes quantity ("500m", "2", "4Gi") as a number."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None:
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) * _FACTORS[found[2]]


def _variables(pod: Mapping[str, Any], container: Mapping[str, Any], read: Read) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for kind, name in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if kind in source:
                found |= _content(read, name, source[kind]["name"], is_optional=source[kind].get("optional", False))
    for entry in container.get("env", []):
        value = entry.get("value", "") if "valueFrom" not in entry else _value(entry["valueFrom"], pod, container, read)
        if value is not None:
            found[entry["name"]] = value
    return found


def _value(source: Mapping[str, Any], pod: Mapping[str, Any], container: Mapping[str, Any], read: Read) -> str | None:
    if "fieldRef" in source:
        found: Any = pod
        for part in source["fieldRef"]["fieldPath"].split("."):
            found = found[part]
        return str(found)
    if "resourceFieldRef" in source:
        bound, resource = source["resourceFieldRef"]["resource"].split(".", 1)
        divisor = quantity(source["resourceFieldRef"].get("divisor") or "1") or 1
        return str(math.ceil(quantity(container["resources"][bound][resource]) / divisor))
    ((kind, reference),) = source.items()
    name = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}[kind]
    is_optional = reference.get("optional", False)
    content = _content(read, name, reference["name"], is_optional=is_optional)
    if reference["key"] not in content and not is_optional:
        raise CannotStart(f"couldn't find key {reference['key']} in {name} {reference['name']}")
    return content.get(reference["key"])


def _content(read: Read, kind: str, name: str, *, is_optional: bool) -> dict[str, str]:
    found = read(kind, name)
    if found is None:
        if is_optional:
            return {}
        raise CannotStart(f'{kind.lower()} "{name}" not found')
    data = found.get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()} if kind == "Secret" else dict(data)


def _mount(volume: Mapping[str, Any], mount: Mapping[str, Any], root: Path, read: Read) -> None:
    target = root / mount["mountPath"].lstrip("/")
    if "configMap" in volume or "secret" in volume:
        kind = "ConfigMap" if "configMap" in volume else "Secret"
        source = volume["configMap"] if kind == "ConfigMap" else volume["secret"]
        name = source["name"] if kind == "ConfigMap" else source["secretName"]
        content = _content(read, kind, name, is_optional=source.get("optional", False))
        if "subPath" in mount:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content[mount["subPath"]], encoding="utf-8")
            return
        target.mkdir(parents=True, exist_ok=True)
        for key, text in content.items():
            (target / key).write_text(text, encoding="utf-8")
    elif "emptyDir" in volume:
        target.mkdir(parents=True, exist_ok=True)
    else:
        raise CannotStart(f"the stand-in has no volumes of the kind of {volume}")


def _kubeconfig(root: Path, server: str) -> Path:
    """What a client in a container finds by itself (`load_incluster_config`), for one that is in none."""
    folder = root / _TOKEN.lstrip("/")
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": str(folder / "ca.crt")}}],
        "users": [{"name": "account", "user": {"token": (folder / "token").read_text(encoding="utf-8")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "account"}}],
        "current-context": "c",
    }
    target = root / "kubeconfig"
    target.write_text(yaml.safe_dump(content), encoding="utf-8")
    return target
