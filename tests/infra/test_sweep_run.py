"""A sweep's run in W&B's own files, offline: under the agent's ids, with what was logged and how it ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A process of its own, as the agent starts it: W&B's files are whole when it has ended.
PROGRAM = """
import sys
from pathlib import Path
from infra.sweep_run import SweepRun
with SweepRun(folder=Path(sys.argv[1])) as run:
    run.log({"epoch": 1, "best_score": 1.25})
    if sys.argv[2] == "stopped":
        raise KeyboardInterrupt
"""


@pytest.mark.parametrize("ends", ["well", "stopped"])
def test_the_agents_run_holds_what_was_logged(ends: str, tmp_path: Path):
    quiet = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    own = {"WANDB_CACHE_DIR": str(tmp_path / "c"), "WANDB_DATA_DIR": str(tmp_path / "d"), "HOME": str(tmp_path)}
    agent = {"WANDB_SWEEP_ID": "sweep7", "WANDB_RUN_ID": "trial3"}
    root = Path(__file__).parents[2]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), **quiet, **own, **agent}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "files"), ends]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (ends == "well"), done.stderr
    (file,) = (tmp_path / "files").rglob("offline-run-*/*.wandb")
    written = file.read_bytes()
    for text in (b"sweep7", b"trial3", b"best_score", b"1.25"):
        assert text in written
