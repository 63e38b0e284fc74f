"""Which stored versions a folder's files were last the same as, written down in that folder; it compares nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from assets.resources import DataRefused
from ml.atomic_files import write_json

FILE = ".kept.json"
#: Stands for the version of what is being replaced by a stored one: it is none.
UNFINISHED = "unfinished"


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    versions: dict[str, str]


class KeptVersions:
    """By part, the version that was last fetched into the folder or published from it.

    Where the store has that very version still, whatever differs in the folder was made from it and is further.
    """

    def __init__(self, folder: Path, *, store: str) -> None:
        self._file, self._store = folder / FILE, store
        self._versions: dict[str, str] = {}
        if not self._file.exists():
            return
        try:
            note = _Note.model_validate_json(self._file.read_bytes())
        except ValidationError as error:
            raise DataRefused(f"{self._file} is not what was written there: remove it, and run this again") from error
        # Of another store it says nothing about this one.
        if note.store == store:
            self._versions = dict(note.versions)

    def get(self, part: str) -> str | None:
        """The part's version, None where there was none."""
        return self._versions.get(part)

    def note(self, versions: Mapping[str, str]) -> None:
        """Write down these parts' versions."""
        if any(self._versions.get(part) != version for part, version in versions.items()):
            self._versions.update(versions)
            write_json(self._file, {"store": self._store, "versions": self._versions})
