"""Parts of a folder of results: which of its files are kept, and which of them together; storing is `kept_folders`'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

STATE, PAGES = "", "pages"
#: Files that are appended to, line by line, by a process that may be killed, or that goes on meanwhile.
_APPENDED = frozenset({".jsonl", ".log"})


@dataclass(frozen=True)
class Part:
    """Files of one folder that are stored as one: all of its old version, or all of its new one.

    name: in the store. folder: relative to the whole, "" for the whole's own files. files: globs within it.
    """

    name: str
    folder: str
    files: tuple[str, ...]

    def owns(self, name: str) -> bool:
        """Whether a file of this name, relative to the part's folder, belongs to it; no other is ever written."""
        return any(_matches(name, pattern) for pattern in self.files)

    def local(self, root: Path) -> dict[str, Path]:
        """Its files below `root`, by name."""
        folder = root / self.folder
        found = {path.relative_to(folder).as_posix(): path for each in self.files for path in folder.glob(each)}
        return {name: path for name, path in sorted(found.items()) if self.owns(name) and path.is_file()}


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """What is kept of a folder: globs of files, so that nothing else in it is ever sent or overwritten.

    state: the folder's own files that say what was done, stored last. pages: its own files that can be made again.
    folders: by glob of folders, each of which is a part of its own, the globs of the files in it.
    """

    state: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def state_part(self) -> Part:
        """The part of the state."""
        return Part(STATE, "", self.state)

    @property
    def own(self) -> tuple[Part, Part]:
        """The parts of the folder's own files, in the order in which they are stored."""
        return Part(PAGES, "", self.pages), self.state_part

    def below(self, folder: str) -> Part:
        """The part of a folder below, such as "runs/0123". ValueError where the layout keeps none such."""
        for pattern, files in self.folders.items():
            if _matches(folder, pattern):
                # One level in the store: a run's folder has a name like those of an artifact's versions.
                return Part(folder.replace("/", "."), folder, files)
        raise ValueError(f"folder {folder!r} is kept by none of {', '.join(self.folders)}")

    def named(self, name: str) -> Part:
        """The part of this name in the store. ValueError where the layout has none such."""
        own = {part.name: part for part in self.own}
        return own[name] if name in own else self.below(name.replace(".", "/"))

    def parts(self, root: Path) -> Iterator[Part]:
        """All parts of which there may be files below `root`, in the order in which they are stored."""
        for pattern in self.folders:
            for path in sorted(root.glob(pattern)):
                if path.is_dir() and _matches(path.relative_to(root).as_posix(), pattern):
                    yield self.below(path.relative_to(root).as_posix())
        yield from self.own


def settled(files: Mapping[str, Path], scratch: Path) -> dict[str, Path]:
    """The files themselves, or, of those that are appended to, copies in `scratch` up to their last whole line.

    The line behind it is being written by a process that goes on, or was cut short by a kill: no record as yet.
    """
    copies = {name: scratch / name for name, path in files.items() if path.suffix in _APPENDED}
    for name, copy in copies.items():
        content = files[name].read_bytes()
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content[: content.rfind(b"\n") + 1])
    return {**files, **copies}


def _matches(name: str, pattern: str) -> bool:
    """As a glob, level by level; hidden files and ".." never."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(
        part and not part.startswith(".") and fnmatchcase(part, each)
        for part, each in zip(parts, patterns, strict=True)
    )
