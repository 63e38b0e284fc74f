"""A raw feed whose buckets are folders: what a bucket gives can be held against what a folder gives."""

import glob
import shutil
from pathlib import Path

from ml.data.sources.raw_files import RawFile


class FolderFeed:
    """Serves `s3://bucket/name` from `root/bucket/name`; `fetched` lists the patterns, `fault` is raised if set.

    `left` counts the copies that still lay below `into`'s parent at each fetch.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fetched: list[str] = []
        self.left: list[int] = []
        self.fault: Exception | None = None

    def fetch(self, pattern: str, *, into: Path) -> list[RawFile]:
        if self.fault is not None:
            raise self.fault
        self.fetched.append(pattern)
        self.left.append(sum(path.is_file() for path in into.parent.rglob("*")))
        bucket, _, name = pattern.removeprefix("s3://").partition("/")
        found = sorted(map(Path, glob.glob(f"{self.root}/{bucket}/{name}", recursive=True)))
        copies = []
        for number, path in enumerate(path for path in found if path.is_file()):
            below = path.relative_to(self.root / bucket)
            copy = into / f"{number:08}" / below
            copy.parent.mkdir(parents=True)
            shutil.copyfile(path, copy)
            copies.append(RawFile(copy, f"s3://{bucket}/{below}"))
        return copies
