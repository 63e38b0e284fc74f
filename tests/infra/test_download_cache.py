"""The download cache keeps its bound, never takes a file from whoever reads it, and says which disk is full."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from infra.download_cache import CacheFull, DownloadCache
from infra.s3_object_store import S3ObjectStore

HOUR = 3600.0


def content(size: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(b"x" * size)


def age(path: Path, hours: float) -> None:
    stat = path.stat()
    os.utime(path, (stat.st_atime - hours * HOUR, stat.st_mtime - hours * HOUR))


@pytest.fixture
def cache(tmp_path: Path) -> DownloadCache:
    return DownloadCache(tmp_path / "cache", max_bytes=1000)


def add(cache: DownloadCache, name: str, size: int, *, hours: float = 0) -> Path:
    path = cache.add(name, size, content(size))
    age(path, hours)
    return path


def test_the_least_recently_used_goes_first(cache: DownloadCache):
    old, older = add(cache, "a/1/x", 400, hours=10), add(cache, "b/1/x", 400, hours=20)
    new = add(cache, "c/1/x", 500)
    assert (old.exists(), older.exists(), new.exists()) == (True, False, True)
    assert not older.parents[1].exists()


def test_a_file_that_was_asked_for_again_counts_as_used(cache: DownloadCache):
    first, second = add(cache, "a/1/x", 400, hours=20), add(cache, "b/1/x", 400, hours=10)
    written = first.stat().st_mtime_ns
    assert cache.find("a/1/x") == first
    assert first.stat().st_mtime_ns == written, "hashes are remembered by it"
    add(cache, "c/1/x", 500)
    assert (first.exists(), second.exists()) == (True, False)


def test_what_was_just_handed_out_stays_and_the_bound_gives_way(cache: DownloadCache, caplog):
    paths = [add(cache, f"{name}/1/x", 400, hours=5) for name in "abcd"]
    assert all(path.exists() for path in paths)
    assert "above its bound of 1000" in caplog.text


def test_an_open_file_stays_however_old(cache: DownloadCache):
    first, second = add(cache, "a/1/x", 400, hours=30), add(cache, "b/1/x", 400, hours=20)
    with first.open("rb"):
        add(cache, "c/1/x", 400)
        assert (first.exists(), second.exists()) == (True, False)
    add(cache, "d/1/x", 400)
    assert not first.exists()


def test_a_file_open_in_another_process_stays(cache: DownloadCache):
    first = add(cache, "a/1/x", 800, hours=30)
    reader = subprocess.Popen(["sleep", "60"], stdin=first.open("rb"))
    try:
        add(cache, "b/1/x", 800)
        assert first.exists()
    finally:
        reader.kill()
        reader.wait()


def test_half_files_of_killed_processes_go(cache: DownloadCache):
    half = cache.folder / "incoming" / "0123.tmp"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"x" * 900)
    add(cache, "a/1/x", 400)
    assert half.exists(), "it may still be growing"
    age(half, 2)
    add(cache, "b/1/x", 400)
    assert not half.exists()


def test_hard_links_of_an_assembled_artifact_go_with_the_file(cache: DownloadCache):
    path = add(cache, "a/1/x", 800)
    assembled = cache.folder / "scratch" / "artifacts" / "version"
    assembled.mkdir(parents=True)
    os.link(path, assembled / "x")
    age(path, 10)
    age(assembled, 10)
    add(cache, "b/1/x", 800)
    assert not path.exists()
    assert not assembled.exists()


def test_an_assembled_artifact_that_was_just_used_stays(cache: DownloadCache):
    path = add(cache, "a/1/x", 800)
    assembled = cache.folder / "scratch" / "artifacts" / "version"
    assembled.mkdir(parents=True)
    os.link(path, assembled / "x")
    age(path, 10)
    add(cache, "b/1/x", 800)
    assert (assembled / "x").exists()


def test_a_failing_write_leaves_nothing(cache: DownloadCache):
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        cache.add("a/1/x", 4, fail)
    assert cache.find("a/1/x") is None
    assert not [path for path in cache.folder.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"no file system may be mounted here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named(s3_endpoint: str, connect: Callable[..., S3ObjectStore], small_disk: Path, tmp_path):
    store = connect(s3_endpoint, cache=small_disk / "cache")
    store.put_bytes("days/large.parquet", b"x" * (3 << 20))
    with pytest.raises(CacheFull) as caught:
        store.fetch_file("days/large.parquet")
    assert f"no room in {small_disk / 'cache'} for large.parquet of {3 << 20} bytes" in str(caught.value)
    assert "free space on that disk" in str(caught.value)
    assert not [path for path in small_disk.rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_full_disk_is_emptied_of_what_nobody_needs(
    s3_endpoint: str, connect: Callable[..., S3ObjectStore], small_disk: Path
):
    store = connect(s3_endpoint, cache=small_disk / "cache", cache_keep=timedelta(hours=1))
    for name in ("first", "second"):
        store.put_bytes(name, name.encode() * 200_000)
    first = store.fetch_file("first")
    with pytest.raises(CacheFull):
        store.fetch_file("second")
    assert first.exists()
    age(first, 2)
    assert store.fetch_file("second").read_bytes() == b"second" * 200_000
    assert not first.exists()


def test_other_faults_of_the_disk_are_told_as_they_are(cache: DownloadCache):
    def fail(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(OSError, match="Read-only"):
        cache.add("a/1/x", 4, fail)


def test_a_downloaded_file_is_found_by_etag(tmp_path: Path):
    cache = DownloadCache(tmp_path, keep=timedelta(0))
    assert cache.find("a/1/x") is None
    path = cache.add("a/1/x", 3, content(3))
    assert cache.find("a/1/x") == path
    assert cache.find("a/2/x") is None
