"""Reads the YAML file of a dataset spec and explains every mistake in it; what is valid `ml.data.dataset` says."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from ml.data.dataset import DatasetSpec

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class DatasetInvalid(ValueError):
    """A dataset spec that cannot be used: every fault with its YAML path, its value and what would be right."""


class _UniqueKeys(yaml.SafeLoader):
    """YAML takes the last of two equal keys without a word: half of a spec could go unread."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # pyright: ignore[reportUnknownMemberType]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"key given twice: {', '.join(repeated)}", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def shipped_datasets() -> tuple[str, ...]:
    """Names of the dataset specs that ship with Postclick."""
    folder = resources.files("ml.data") / "specs"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_dataset(name_or_path: str, *, environment: Mapping[str, str]) -> DatasetSpec:
    """Read and check a dataset spec, named by its path or, if it ships, by its name.

    `${VARIABLE}` in any text is replaced from `environment`. Raises DatasetInvalid for a spec that is missing,
    unreadable or wrong, with each fault's YAML path, value and what would be right.
    """
    if name_or_path in shipped_datasets():
        text = (resources.files("ml.data") / "specs" / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise DatasetInvalid(
                f"dataset {name_or_path!r} is neither a file nor one of the shipped specs "
                f"({', '.join(shipped_datasets())}); give the path of a YAML file or one of these names"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetInvalid(f"dataset {name_or_path}: not readable as UTF-8 text: {error}") from error
    return parse_dataset(text, origin=name_or_path, environment=environment)


def parse_dataset(text: str, *, origin: str, environment: Mapping[str, str]) -> DatasetSpec:
    """Check the YAML `text` of a dataset spec; `origin` names it in errors. Raises DatasetInvalid."""
    try:
        content = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise DatasetInvalid(f"dataset {origin}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise DatasetInvalid(f"dataset {origin}: expected a mapping with name, days, source and fields")
    expanded = _expand(content, path="", origin=origin, environment=environment)
    try:
        return DatasetSpec.model_validate(expanded)
    except ValidationError as error:
        raise DatasetInvalid(
            f"dataset {origin} is wrong in {error.error_count()} place(s):\n" + _explain(error, expanded)
        ) from None


def _expand(node: Any, *, path: str, origin: str, environment: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            key: _expand(value, path=f"{path}.{key}" if path else str(key), origin=origin, environment=environment)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [
            _expand(value, path=f"{path}[{index}]", origin=origin, environment=environment)
            for index, value in enumerate(node)
        ]
    if not isinstance(node, str):
        return node

    def substitute(match: re.Match[str]) -> str:
        if match.group(1) not in environment:
            raise DatasetInvalid(
                f"dataset {origin}: {path}: {node!r} uses the variable {match.group(1)}, which is not set; set it in "
                "the environment or in .env"
            )
        return environment[match.group(1)]

    return _VARIABLE.sub(substitute, node)


def _explain(error: ValidationError, content: Any) -> str:
    lines = []
    for fault in error.errors(include_url=False):
        path = _yaml_path(fault["loc"], content, missing=fault["type"] == "missing")
        shown = repr(fault["input"])
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        lines.append(f"  {path or '(the whole file)'}: {fault['msg']}; found {shown}")
    return "\n".join(lines)


def _yaml_path(location: tuple[int | str, ...], content: Any, *, missing: bool) -> str:
    """`location` as it reads in the file: pydantic also names the union members it tried, which no file holds."""
    path = ""
    for place, part in enumerate(location):
        present = part in content if isinstance(content, dict) else isinstance(content, list) and isinstance(part, int)
        if not present and not (missing and place == len(location) - 1):
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
        content = cast(Any, content)[part] if present else None
    return path.lstrip(".")
