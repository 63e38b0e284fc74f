"""What the local folder promises beyond the contract: nothing half-written, nothing hidden listed, locks."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.local_object_store import LocalObjectStore
from infra.object_keys import KeyRefused


def test_stray_files_of_a_killed_writer_are_never_listed(local: LocalObjectStore):
    local.put_bytes("days/a", b"x")
    (local.root / "days" / ".0123.tmp").write_bytes(b"half")
    (local.root / ".scratch").mkdir()
    (local.root / ".scratch" / "derived").write_bytes(b"x")
    assert list(local.list_keys()) == ["days/a"]
    assert list(local.list_keys("days/")) == ["days/a"]


def test_a_failed_write_leaves_the_old_bytes_and_no_litter(local: LocalObjectStore, monkeypatch: pytest.MonkeyPatch):
    local.put_bytes("days/a", b"old")

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    etag = local.get_bytes("days/a").etag
    for write in (
        lambda: local.put_bytes("days/a", b"new"),
        lambda: local.create_bytes("days/b", b"new"),
        lambda: local.replace_bytes("days/a", b"new", etag=etag),
    ):
        with pytest.raises(OSError, match="No space left"):
            write()
    assert local.get_bytes("days/a").data == b"old"
    assert sorted(path.name for path in (local.root / "days").iterdir()) == ["a"]


def test_a_key_cannot_be_object_and_folder(local: LocalObjectStore):
    local.put_bytes("a/b", b"x")
    with pytest.raises(KeyRefused, match=r"'a/b/c'.*both an object and a folder"):
        local.put_bytes("a/b/c", b"x")
    with pytest.raises(KeyRefused, match=r"'a'.*is a folder"):
        local.put_bytes("a", b"x")
    assert list(local.list_keys()) == ["a/b"]


def test_fetching_gives_the_file_itself(local: LocalObjectStore):
    local.put_bytes("a/b", b"x")
    assert local.fetch_file("a/b") == local.root / "a" / "b"


def test_delete_leaves_no_empty_folders(local: LocalObjectStore):
    local.put_bytes("a/b/c", b"x")
    local.put_bytes("a/d", b"x")
    local.delete("a/b/c")
    assert not (local.root / "a" / "b").exists()
    assert (local.root / "a" / "d").exists()


def test_processes_that_increment_lose_none(local: LocalObjectStore):
    local.put_bytes("counter", b"0")
    program = """
import sys
from pathlib import Path
from infra.local_object_store import LocalObjectStore
from infra.object_keys import ObjectChanged
store, done = LocalObjectStore(Path(sys.argv[1])), 0
while done < 25:
    data, etag = store.get_bytes("counter")
    try:
        store.replace_bytes("counter", str(int(data) + 1).encode(), etag=etag)
        done += 1
    except ObjectChanged:
        pass
"""
    command = [sys.executable, "-c", program, str(local.root)]
    children = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert local.get_bytes("counter").data == b"75"
