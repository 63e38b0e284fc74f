"""Scratch outlives neither its block nor its process, and is never taken from a process that lives."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.scratch import scratch_folder

HOLD = """
import sys, time
from pathlib import Path
from infra.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), purpose="train") as folder:
    (folder / "rows").write_bytes(b"1")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_a_folder_is_gone_with_its_block(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, purpose="join") as folder:
        (folder / "rows").write_bytes(b"1")
        with scratch_folder(tmp_path, purpose="join") as other:
            assert other != folder
        assert (folder / "rows").exists()
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path, purpose="join"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with scratch_folder(tmp_path, purpose="join"):
            assert (left / "rows").exists()
        process.kill()
    assert (left / "rows").exists(), "nobody has looked yet"
    with scratch_folder(tmp_path, purpose="join") as folder:
        assert not left.exists()
        assert folder.exists()
    assert list(tmp_path.iterdir()) == []
