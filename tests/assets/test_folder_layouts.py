"""Parts of a folder: which file belongs to which, what never does, and files that somebody is still writing to."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.folder_layouts import FolderLayout, settled

LAYOUT = FolderLayout(
    state=("journal.jsonl",), pages=("index.html", "t-*.png"), folders={"runs/*": ("*.json", "train/*.jsonl")}
)


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_each_file_has_one_part_and_the_state_comes_last(tmp_path: Path):
    write(tmp_path, "journal.jsonl", "index.html", "t-1.png", "runs/b/r.json", "runs/a/r.json", "runs/a/train/m.jsonl")
    found = [(part.name, list(part.local(tmp_path))) for part in LAYOUT.parts(tmp_path)]
    assert found == [
        ("runs.a", ["r.json", "train/m.jsonl"]),
        ("runs.b", ["r.json"]),
        ("pages", ["index.html", "t-1.png"]),
        ("", ["journal.jsonl"]),
    ]


def test_what_is_not_named_never_leaves_the_folder(tmp_path: Path):
    write(tmp_path, "mine.html", ".lock", "runs/a/weights.safetensors", "runs/a/train/bundle/b.json", "runs/.a/r.json")
    write(tmp_path, "checkpoints/0001/c.json", "runs/a/.r.json.7.tmp", "runs/a/.r.json", "runs/r.json")
    assert [name for part in LAYOUT.parts(tmp_path) for name in part.local(tmp_path)] == []


@pytest.mark.parametrize("name", ["../r.json", "train/../r.json", ".r.json", "/r.json", "r.json/", "a/r.json", "r.sh"])
def test_what_a_store_says_reaches_no_other_file(name: str):
    assert not LAYOUT.below("runs/a").owns(name)
    assert LAYOUT.below("runs/a").owns("r.json")


def test_a_part_is_found_by_the_name_that_it_is_stored_under():
    for part in (*LAYOUT.own, LAYOUT.below("runs/0123456789abcdef")):
        assert LAYOUT.named(part.name) == part
    for name in ("runs", "runs.", "runs...a", "other.a", "runs.a.b"):
        with pytest.raises(ValueError, match="kept by none of"):
            LAYOUT.named(name)


@given(lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b""))), torn=st.binary(max_size=9))
def test_of_a_file_that_grows_whole_lines_are_taken(lines: list[bytes], torn: bytes):
    torn = torn.replace(b"\n", b"")
    with tempfile.TemporaryDirectory() as folder:
        file, scratch = Path(folder) / "journal.jsonl", Path(folder) / "scratch"
        whole = b"".join(line + b"\n" for line in lines)
        file.write_bytes(whole + torn)
        assert settled({"a/journal.jsonl": file}, scratch)["a/journal.jsonl"].read_bytes() == whole
        assert file.read_bytes() == whole + torn


def test_a_file_that_is_replaced_whole_is_taken_as_it_is(tmp_path: Path):
    write(tmp_path, "r.json")
    assert settled({"r.json": tmp_path / "r.json"}, tmp_path / "scratch") == {"r.json": tmp_path / "r.json"}
