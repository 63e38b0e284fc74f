"""Folders in the store: gone on with elsewhere, sent as little as can be, damage named; who may work is beside."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.kept_folders import page_address
from assets.resources import DataRefused, Platform
from infra.object_keys import ObjectStoreError
from tests.assets.kept_work import KEY, ON_BOTH, Mortal, Worker, works

Machine = Callable[[str], Platform]


def stored(worker: Worker) -> list[str]:
    return [key for key in worker.platform.objects.list_keys("studies/") if not key.endswith("manifest.json")]


@ON_BOTH
def test_another_machine_goes_on_where_one_ended(machine: Machine):
    here, there = Worker(machine("here")), Worker(machine("there"))
    works(here, "ab")
    with there.at_work():
        assert there.has() == here.has()
        assert there.done() == ["a", "b"]
        there.does("c")
    with here.at_work():
        assert here.done() == ["a", "b", "c"]
    address = page_address(here.platform, here.folder, key=KEY, name="index.html")
    assert address.startswith(here.platform.objects.location.rstrip("/") + f"/{KEY}/pages/")
    key = address.removeprefix(here.platform.objects.location.rstrip("/") + "/")
    assert here.platform.objects.get_bytes(key).data == b"ab"


@ON_BOTH
def test_only_what_changed_is_sent_and_of_running_work_nothing(machine: Machine):
    here = Worker(machine("here")).dying(None)
    objects = here.platform.objects
    assert isinstance(objects, Mortal)
    with here.at_work() as kept:
        here.writes(index_html="page", runs__b__output_log="begun\n", runs__b__weights_bin="large")
        here.does("a")
        kept.keep("runs/a")
        before = len(objects.seen)
        here.does("c")
        kept.keep("runs/c")
        sent = [key for verb, key in objects.seen[before:] if verb == "put_file"]
        assert sorted(key.split("/")[2] for key in sent[:1]) == ["runs.c"]
        assert not [key for key in sent if "runs.a" in key or "runs.b" in key or "index" in key]
        before = len(objects.seen)
        kept.keep("runs/c")
        kept.keep_all()
        sent = [key for verb, key in objects.seen[before:] if verb == "put_file"]
        assert [key.split("/")[2] for key in sent] == ["runs.b"]
    assert not [key for key in stored(here) if "weights" in key]
    before = len(objects.seen)
    with Worker(here.platform).at_work():
        pass
    # The claim is a new version of the state's manifest.
    sent = [key for verb, key in objects.seen[before:] if verb == "put_file"]
    assert [key.rpartition("/")[2] for key in sent] == ["journal.jsonl"]


def test_a_line_that_is_being_written_is_no_record_yet(machine: Machine):
    here, there = Worker(machine("here")), Worker(machine("there"))
    with here.at_work() as kept:
        here.writes(journal_jsonl='{"a": 1}\n{"b": ')
        kept.keep_all()
        assert here.platform.artifacts.open(KEY).path("journal.jsonl").read_text() == '{"a": 1}\n'
        here.writes(journal_jsonl='{"a": 1}\n{"b": 2}\n{"c"')
    with there.at_work():
        assert there.has()["journal.jsonl"] == '{"a": 1}\n{"b": 2}\n'


@ON_BOTH
@pytest.mark.parametrize("part", ["", "/runs.a"])
def test_a_damaged_file_is_named_with_what_to_do(machine: Machine, part: str):
    here, there = Worker(machine("here")), Worker(machine("there"))
    works(here, "a")
    manifest = here.platform.artifacts.find(KEY + part)
    assert manifest is not None
    name = next(iter(manifest.files))
    here.platform.objects.put_bytes(f"{manifest.folder}/{name}", b"torn")
    with pytest.raises(DataRefused, match=rf"{name} in .* is damaged: remove all that lies below .*/studies/s{part}/ "):
        works(there, "b")
    assert name not in there.has()
    assert f"runs/a/{name}" not in there.has()
    for key in list(here.platform.objects.list_keys(f"{KEY}{part}/")):
        here.platform.objects.delete(key)
    third = Worker(machine("third"))
    with third.at_work():
        assert "runs/a/result.json" not in third.has()


@pytest.mark.parametrize("part", ["", "/pages", "/runs.a"])
def test_a_damaged_manifest_is_named_with_what_to_do(machine: Machine, part: str):
    works(Worker(machine("here")), "a")
    there = Worker(machine("there"))
    there.platform.objects.put_bytes(f"{KEY}{part}/manifest.json", b"{")
    with pytest.raises(DataRefused, match=rf"s{part}/manifest.json in .*: remove all that lies below .*/s{part}/ and"):
        works(there, "b")


def test_a_stored_file_that_is_never_kept_is_not_written(machine: Machine, tmp_path: Path):
    works(Worker(machine("here")), "a")
    there = Worker(machine("there"))
    (tmp_path / "evil").write_text("run me")
    there.platform.artifacts.publish(f"{KEY}/runs.a", {"evil.sh": tmp_path / "evil"}, metadata={})
    with pytest.raises(DataRefused, match=r"runs\.a holds 'evil\.sh', which is never kept there: remove all"):
        works(there, "b")
    there.platform.artifacts.publish(f"{KEY}/runs.a", {"result.json": tmp_path / "evil"}, metadata={})
    there.platform.artifacts.publish(f"{KEY}/other.a", {"result.json": tmp_path / "evil"}, metadata={})
    with pytest.raises(DataRefused, match=r"studies/s/other\.a is never kept there"):
        works(there, "b")


@ON_BOTH
def test_a_store_that_fails_is_told_and_the_next_storing_has_it_all(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    here, there = Worker(machine("here")), Worker(machine("there"))

    def fail(*_: object, **__: object) -> None:
        raise ObjectStoreError("503 SlowDown")

    with here.at_work() as kept:
        here.does("a")
        with monkeypatch.context() as patched:
            patched.setattr(type(here.platform.objects), "put_file", fail)
            kept.keep("runs/a")
        assert any("503 SlowDown" in line for line in here.told)
        here.does("b")
        kept.keep("runs/b")
        assert here.platform.artifacts.find(f"{KEY}/runs.a") is not None

    def fails_in_the_end() -> None:
        with monkeypatch.context() as patched, here.at_work():
            here.does("c")
            patched.setattr(type(here.platform.objects), "put_file", fail)

    with pytest.raises(ObjectStoreError, match="503 SlowDown"):
        fails_in_the_end()
    assert here.done() == ["a", "b", "c"]
    with there.at_work():
        assert there.done() == ["a", "b"]


def test_where_the_store_is_a_folder_too_nothing_is_stored_twice(platform: Platform):
    here = Worker(platform)
    works(here, "ab")
    assert list(platform.objects.list_keys()) == []
    assert page_address(platform, here.folder, key=KEY, name="index.html") == str(here.folder / "index.html")
    assert not (here.folder / ".kept.json").exists()


def test_a_note_that_cannot_be_read_is_named(machine: Machine):
    here = Worker(machine("here"))
    works(here, "a")
    note = here.folder / ".kept.json"
    assert set(json.loads(note.read_text())["versions"]) == {"", "pages", "runs.a"}
    note.write_text("{")
    with pytest.raises(DataRefused, match=r"\.kept\.json is not what was written there: remove it"):
        works(here, "b")
