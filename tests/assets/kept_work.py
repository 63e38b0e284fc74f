"""Work in a folder that the store keeps, by processes that die where a test says so; the tests are elsewhere."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from assets.folder_layouts import FolderLayout
from assets.kept_folders import LocalFolder, kept_folder
from assets.resources import Platform
from infra.leases import Leases
from tests.infra.slept_clock import SleptClock

#: The same on a folder and on S3, where it may matter: each client of S3 takes its time to begin.
ON_BOTH = pytest.mark.parametrize("shared_store", ["local", "s3"], indirect=True)
KEY = "studies/s"
LAYOUT = FolderLayout(
    state=("settings.json", "journal.jsonl"), pages=("index.html",), folders={"runs/*": ("*.json", "*.log")}
)
WRITES = ("put_bytes", "create_bytes", "replace_bytes", "put_file", "delete")


class Killed(BaseException):
    """What a dead process does: nothing more."""


class Mortal:
    """A store as a process sees it that dies at one of its operations, and at each after that."""

    def __init__(self, objects: Any, *, dies_at: int | None = None, operations: tuple[str, ...] = WRITES) -> None:
        self._objects, self._operations = objects, operations
        self._left = dies_at
        self.seen: list[tuple[str, str]] = []

    @property
    def is_dead(self) -> bool:
        return self._left is not None and self._left < 0

    def die(self) -> None:
        """From now on nothing reaches the store."""
        self._left = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._objects, name)
        return self._counted(name, found) if name in self._operations else found

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(key: str, *arguments: Any, **named: Any) -> Any:
            if self._left is not None:
                self._left -= 1
                if self.is_dead:
                    raise Killed
            self.seen.append((name, key))
            return call(key, *arguments, **named)

        return counted


class Listener(list[str]):
    """Lines told, each shown to a listener."""

    def __init__(self, listen: Callable[[str], None]) -> None:
        super().__init__()
        self._listen = listen

    def append(self, line: str) -> None:
        super().append(line)
        self._listen(line)


class Worker:
    """Work of one run in a folder of a machine; `ended` is the exit code that the process ended with on its own."""

    def __init__(self, platform: Platform, *, run_id: str | None = None) -> None:
        self.platform, self.run_id = platform, run_id
        self.folder = platform.cache_root / "out"
        self.clock, self.told, self.ended = SleptClock(), [], None

    def dying(self, dies_at: int | None, operations: tuple[str, ...] = WRITES) -> "Worker":
        """The same machine with a process that dies at its so manyeth operation."""
        mortal = Mortal(self.platform.objects, dies_at=dies_at, operations=operations)
        return Worker(dataclasses.replace(self.platform, objects=mortal), run_id=self.run_id)

    @contextmanager
    def at_work(self) -> Iterator[LocalFolder]:
        def end(code: int) -> None:
            self.ended = code

        leases = Leases(self.platform.objects, seconds=60, clock=self.clock, sleep=self.clock.sleep)
        with kept_folder(
            self.platform, self.folder, key=KEY, layout=LAYOUT, otherwise="another is here", run_id=self.run_id,
            log=self.told.append, leases=leases, end_process=end,
        ) as kept:  # fmt: skip
            yield kept

    def writes(self, **files: str) -> None:
        """Files by name, `__` for a slash and `_` for the dot before what they are."""
        for name, text in files.items():
            path = self.folder / ".".join(name.replace("__", "/").rsplit("_", 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def does(self, name: str) -> None:
        """What a piece of work leaves: a record of its own, and a line in the journal that speaks of it."""
        self.writes(**{f"runs__{name}__result_json": name})
        with (self.folder / "journal.jsonl").open("a") as file:
            file.write(f"{name}\n")

    def has(self) -> dict[str, str]:
        """What lies in the folder, hidden files aside."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_text()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    def done(self) -> list[str]:
        """What the journal speaks of; each has its record."""
        names = self.has().get("journal.jsonl", "").splitlines()
        assert all(self.has()[f"runs/{name}/result.json"] == name for name in names)
        return names


def works(worker: Worker, names: str) -> None:
    """Begin, do each of these, keeping all but the last, write the page, end."""
    with worker.at_work() as kept:
        worker.writes(settings_json="settings")
        for name in names:
            worker.does(name)
            if name != names[-1]:
                kept.keep(f"runs/{name}")
        worker.writes(index_html=names)


def killed(worker: Worker, names: str, *, dies_at: int | None = None, operations: tuple[str, ...] = WRITES) -> bool:
    """The same by a process that dies at its so manyeth operation on the store; whether it came to that."""
    dying = worker.dying(dies_at, operations)
    try:
        works(dying, names)
    except Killed:
        return True
    return False
