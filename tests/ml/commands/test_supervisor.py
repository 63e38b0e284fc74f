"""What is left of workers that end well, are killed or terminated, and of one whose supervisor is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 30


def _start(work: str, out: Path) -> subprocess.Popen[str]:
    """A supervisor whose worker runs the lines of ``work``, with ``out`` at hand and ``return`` for its exit code."""
    lines = [
        "import os, signal, sys, time",
        "from pathlib import Path",
        "from ml.commands.supervisor import supervised",
    ]
    lines += [f"out = Path({str(out)!r})", "def work():", *(f"    {line}" for line in work.splitlines())]
    lines += ["code = supervised(work, out=out)", "assert 'torch' not in sys.modules", "sys.exit(code)"]
    return subprocess.Popen([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("work", "code"), [("return 0", 0), ("return 3", 3), ("sys.exit(2)", 2), ("raise KeyError('surprise')", 1)]
)
def test_the_workers_exit_code_is_passed_on(tmp_path: Path, work: str, code: int) -> None:
    process = _start(work, tmp_path / "out")
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code
    assert ("surprise" in errors) == (code == 1)
    assert not (tmp_path / "out").exists()


def test_a_killed_worker_leaves_its_peak_and_the_limit(tmp_path: Path) -> None:
    process = _start("held = b'x' * 2**27\nos.kill(os.getpid(), signal.SIGKILL)", tmp_path / "out")
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 137
    record = json.loads((tmp_path / "out" / "exit.json").read_text())
    assert (record["status"], record["signal"]) == ("failed", "SIGKILL")
    assert record["reason"].startswith("killed by SIGKILL, likely out of memory: peak 0.1")
    assert record["peak_memory_bytes"] > 2**27
    assert record["cpu_seconds"] > 0
    assert record["reason"] in errors


def test_a_worker_that_crashed_is_no_want_of_memory(tmp_path: Path) -> None:
    process = _start("os.kill(os.getpid(), signal.SIGSEGV)", tmp_path / "out")
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 139
    assert json.loads((tmp_path / "out" / "exit.json").read_text())["reason"] == "killed by SIGSEGV"


def test_what_the_worker_said_or_another_left_is_not_written_over(tmp_path: Path) -> None:
    said = "out.mkdir()\n(out / 'exit.json').write_text('said')\nos.kill(os.getpid(), signal.SIGKILL)"
    process = _start(said, tmp_path / "out")
    process.communicate(timeout=PATIENCE_SECONDS)
    assert (tmp_path / "out" / "exit.json").read_text() == "said"
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "file").touch()
    process = _start("os.kill(os.getpid(), signal.SIGKILL)", tmp_path / "others")
    process.communicate(timeout=PATIENCE_SECONDS)
    assert [path.name for path in (tmp_path / "others").iterdir()] == ["file"]


def test_sigterm_is_handed_on(tmp_path: Path) -> None:
    started = tmp_path / "started"
    work = f"signal.signal(signal.SIGTERM, lambda *_: os._exit(143))\nPath({str(started)!r}).touch()\ntime.sleep(60)"
    process = _start(work, tmp_path / "out")
    _wait_for(started)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 143


def test_a_worker_that_sigterm_met_before_it_listened_is_recorded(tmp_path: Path) -> None:
    started = tmp_path / "started"
    process = _start(f"Path({str(started)!r}).touch()\ntime.sleep(60)", tmp_path / "out")
    _wait_for(started)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 143
    record = json.loads((tmp_path / "out" / "exit.json").read_text())
    assert (record["status"], record["reason"], record["signal"]) == ("terminated", "killed by SIGTERM", "SIGTERM")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere whoever kills the supervisor kills its group")
def test_the_worker_dies_with_its_supervisor(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    work = f"Path({str(tmp_path / 'draft')!r}).write_text(str(os.getpid()))\n"
    work += f"os.replace({str(tmp_path / 'draft')!r}, {str(told)!r})\ntime.sleep(60)"
    process = _start(work, tmp_path / "out")
    _wait_for(told)
    worker = int(told.read_text())
    assert _lives(worker)
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _lives(worker):
        assert time.monotonic() < deadline, f"worker {worker} lives on"
        time.sleep(0.01)


def _lives(process: int) -> bool:
    try:
        # A zombie that its new parent has not yet collected is dead.
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
