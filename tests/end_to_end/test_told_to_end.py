"""The command line told to end in mid-training, as by Ctrl-C or `docker stop`: it ends, and the next run goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.conftest import TINY

pytestmark = pytest.mark.end_to_end
#: Long enough for a signal to come in time.
LONG = {"epochs": 400, "patience": 0}


def command(folder: Path) -> list[str]:
    """`postclick run` of this checkout for two models, the spec of its log written into `folder`."""
    spec = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    spec["training"] |= LONG
    spec["source"]["config"]["faults"] = []
    (folder / "tiny.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    days = ["--days", "2026-01-05..2026-01-10", "--as-of", "2026-01-08..2026-01-09"]
    code = "from orchestration.command_line import main; main()"
    return [sys.executable, "-c", code, "run", "--dataset", "tiny.yaml", *days]


def run_until(words: str, folder: Path) -> tuple[int, str]:
    """Send SIGTERM at the first line with these words; the exit code and all that was printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "POSTCLICK_HOME": str(folder / "home"),
        "POSTCLICK_THREADS": "1",
    }
    process = subprocess.Popen(
        command(folder),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            if words in line and words not in said:
                process.send_signal(signal.SIGTERM)
            said += line
        return process.wait(), said
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(300)
def test_a_run_that_is_told_to_end_ends_and_the_next_goes_on(tmp_path: Path):
    code, said = run_until("samples/s", tmp_path)
    assert code == 1
    assert "cvr_model was told to end; run the same again" in said
    assert "2026-01-09" not in said.partition("AUC CTCVR")[2], "no other model was begun"
    code, said = run_until("resumed in epoch", tmp_path)
    assert "resumed in epoch" in said
    assert code == 1
