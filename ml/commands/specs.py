"""Reads a verb's spec file and checks its output directory; every refusal names path, value and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

_LONGEST_VALUE = 200

SpecModel = TypeVar("SpecModel", bound=BaseModel)


class Refused(ValueError):
    """What the command was given cannot be used: exit code 2."""


def read_spec(path: Path, model: type[SpecModel]) -> SpecModel:
    """The spec in the JSON file ``path``. Raises ``Refused`` naming each wrong field, its value and what is right."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise Refused(f"{path}: there is no such file; give the path of a {model.__name__} as JSON") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not JSON ({error})") from error
    except ValidationError as error:
        lines = [_line(path, fault["loc"], fault.get("input"), fault["msg"]) for fault in error.errors()]
        raise Refused("\n".join(lines)) from error


def prepare_out(out: Path) -> None:
    """Makes ``out``. Raises ``Refused`` unless it is absent or an empty directory."""
    if out.exists() and not out.is_dir():
        raise Refused(f"--out {out} is a file; give a directory that is empty or absent")
    if out.is_dir() and any(out.iterdir()):
        first = sorted(path.name for path in out.iterdir())[:3]
        raise Refused(f"--out {out} is not empty (it holds {', '.join(first)}); give an empty or absent directory")
    out.mkdir(parents=True, exist_ok=True)


def _line(path: Path, location: tuple[int | str, ...], value: object, message: str) -> str:
    where = ".".join(str(part) for part in location) or "(the whole)"
    shown = repr(value)
    if len(shown) > _LONGEST_VALUE:
        shown = shown[:_LONGEST_VALUE] + "…"
    return f"{path}: {where}: {message}; got {shown}"
