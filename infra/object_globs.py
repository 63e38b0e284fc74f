"""Finds objects by the patterns that find files: what `glob` finds in a folder; how a bucket is listed is not known."""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

_MAGIC = re.compile(r"[*?[]")
#: As a whole part of a pattern: any number of folders, or of files below them.
_ANY_DEPTH = "**"


class FoundObject(NamedTuple):
    """An object as a listing tells of it. A name that ends with a slash is a folder."""

    name: str
    etag: str
    size: int


class Listing(Protocol):
    """The objects whose names begin with `prefix`. Unless `deep`, what lies behind the next slash is one folder."""

    def __call__(self, prefix: str, *, deep: bool) -> Iterable[FoundObject]: ...


def find_objects(pattern: str, listing: Listing) -> list[FoundObject]:
    """The objects whose names `pattern` matches as glob.glob(recursive=True) matches files, in the order of their names
    part by part, as paths are sorted.

    The pattern has no empty part, nor `.` or `..`. An object that has the very name of the pattern is meant by it. As
    in a folder, names that begin with a dot are found only by patterns that do. Folders are not found, nor the empty
    objects that stand for them. Only what begins as the pattern does, up to its first wildcard, is listed.
    """
    exact = _named(pattern, listing)
    found = exact or set(_walk("", pattern.split("/"), listing))
    return sorted(found, key=lambda one: one.name.split("/"))


def _named(name: str, listing: Listing) -> set[FoundObject]:
    return {one for one in listing(name, deep=False) if one.name == name}


def _walk(folder: str, parts: Sequence[str], listing: Listing) -> Iterator[FoundObject]:
    """What `parts` match below `folder`, which is "" or ends with a slash."""
    while parts and not _MAGIC.search(parts[0]):
        if len(parts) == 1:
            yield from _named(folder + parts[0], listing)
            return
        folder, parts = f"{folder}{parts[0]}/", parts[1:]
    if parts[0] == _ANY_DEPTH:
        for one in listing(folder, deep=True):
            names = one.name.removeprefix(folder).split("/")
            # No file has such names: they would lead elsewhere, or name a folder.
            if not {"", ".", ".."} & set(names) and _matches_all(names, parts):
                yield one
        return
    begin = _MAGIC.split(parts[0], maxsplit=1)[0]
    for one in listing(folder + begin, deep=False):
        name, slash, _ = one.name.removeprefix(folder).partition("/")
        if not name or name in (".", "..") or bool(slash) != (len(parts) > 1) or not _matches(name, parts[0]):
            continue
        if slash:
            yield from _walk(one.name, parts[1:], listing)
        else:
            yield one


def _matches_all(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts or not names:
        return not names and all(part == _ANY_DEPTH for part in parts)
    if parts[0] == _ANY_DEPTH:
        within = not names[0].startswith(".") and _matches_all(names[1:], parts)
        return within or _matches_all(names, parts[1:])
    return _matches(names[0], parts[0]) and _matches_all(names[1:], parts[1:])


def _matches(name: str, part: str) -> bool:
    if name.startswith(".") and not part.startswith("."):
        return False
    return fnmatch.fnmatchcase(name, part)
