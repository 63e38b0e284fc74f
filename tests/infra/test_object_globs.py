"""A bucket's objects are found as `glob` finds files of the same names, and no more is listed than need be."""

import glob
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.object_globs import FoundObject, find_objects

FOLDER = st.sampled_from(["a", "b", "ab", ".a", "[b]", "a*", "day=1", "é"])
#: With an ending, so that no name is both a file and a folder, which a bucket allows and no folder does.
FILE = st.sampled_from(["a.x", "b.x", "ab.x", ".a.x", "[b].x", "a*.x", "a.y", "é.x", "$.x"])
WILD = [
    "*",
    "**",
    "?",
    "a*",
    "*b",
    "[ab]",
    "[!a]",
    "[.]a",
    ".*",
    "[[]b]",
    "*.x",
    "a.*",
    "??.x",
    "*.?",
    "[a",
    "é*",
    "***",
]
LITERAL = ["a", "b", ".a", "[b]", "a*.x", "[b].x", "a.x", "[", "day=[0-9]"]
PART = st.sampled_from(WILD + LITERAL)
NAMES = st.sets(st.tuples(st.lists(FOLDER, max_size=3), FILE).map(lambda found: "/".join([*found[0], found[1]])))


class Bucket:
    """Lists names as S3 does; `asked` holds the prefixes, `told` the names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names, key=str.encode)
        self.asked: list[str] = []
        self.told: list[str] = []

    def __call__(self, prefix: str, *, deep: bool) -> Iterator[FoundObject]:
        self.asked.append(prefix)
        folders = set()
        for name in self.names:
            below = name.removeprefix(prefix)
            if not name.startswith(prefix):
                continue
            if not deep and "/" in below:
                folders.add(prefix + below[: below.index("/") + 1])
            else:
                self.told.append(name)
                yield FoundObject(name, "etag", 1)
        yield from (FoundObject(folder, "", 0) for folder in sorted(folders))

    def find(self, pattern: str) -> list[str]:
        return [found.name for found in find_objects(pattern, self)]


def files(root: Path, pattern: str) -> list[str]:
    """As `ml.data.sources.tables.find_files` finds them."""
    exact = root / pattern
    found = [exact] if exact.is_file() else {Path(path) for path in glob.glob(f"{root}/{pattern}", recursive=True)}
    return [str(path.relative_to(root)) for path in sorted(found) if path.is_file()]


@given(NAMES, st.lists(PART, min_size=1, max_size=4).map("/".join))
@example({"a/b.x", "a/.a/b.x", "a/b/ab.x", "b.x"}, "**/*.x")
@example({"a/b/ab.x", "a/.a/b.x", "a/b.x"}, "a/**")
@example({"a-/b.x", "a/b.x", "a.x"}, "*/*.x")
@example({"a/[b].x", "a/b.x"}, "a/[b].x")
@settings(max_examples=150, deadline=None)
def test_a_bucket_and_a_folder_of_the_same_names_find_the_same(names: set[str], pattern: str):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        assert Bucket(names).find(pattern) == files(root, pattern)


def test_objects_that_stand_for_folders_and_names_that_no_file_has_are_not_found():
    bucket = Bucket(["shop/", "shop/1/", "shop/1/a.x", "shop//a.x", "shop/../a.x", "shop/./a.x", "shop/1//a.x"])
    assert bucket.find("shop/*/*.x") == ["shop/1/a.x"]
    assert bucket.find("shop/**") == ["shop/1/a.x"]
    assert bucket.find("shop/*") == []
    assert bucket.find("shop/.*/*.x") == []
    assert bucket.find("*") == []


def test_a_name_that_is_also_a_folder_is_found_as_either():
    bucket = Bucket(["day", "day/a.x"])
    assert bucket.find("d*") == ["day"]
    assert bucket.find("**") == ["day", "day/a.x"]
    assert bucket.find("d*/*") == ["day/a.x"]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("shop/1/*.x", ["shop/1/a.x", "shop/1/b.y"]),
        ("shop/1/a*", ["shop/1/a.x"]),
        ("shop/*/a.x", ["shop/1/a.x"]),
        ("shop/1/a.x", ["shop/1/a.x"]),
        ("shop/1/**/*.x", ["shop/1/a.x", "shop/1/b.y", "shop/1/deep/a.x"]),
    ],
)
def test_no_more_is_listed_than_what_may_match(pattern: str, told: list[str]):
    """A history of years must not be listed for a day, and a policy may allow no more."""
    bucket = Bucket(["shop/1/a.x", "shop/1/b.y", "shop/1/deep/a.x", "shop/2/c.x", "shops/a.x", "other/a.x"])
    bucket.find(pattern)
    assert sorted(set(bucket.told)) == told
    assert all(asked.startswith("shop/") for asked in bucket.asked)
