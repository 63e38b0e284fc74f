"""`postclick serve`: a code server that answers, its metrics beside it, JSON lines, and an end on SIGTERM."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "assets" / "tiny.yaml"
SECRET = "a-secret-key"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(tmp_path: Path, **own: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "POSTCLICK_HOME": str(tmp_path / "home"),
        "POSTCLICK_DATASET": str(TINY),
        **own,
    }


def test_the_code_server_is_served_with_its_metrics(tmp_path: Path):
    if importlib.util.find_spec("prometheus_client") is None:
        pytest.skip("prometheus-client is not installed")
    grpc, metrics = free_port(), free_port()
    variables = environment(
        tmp_path, POSTCLICK_METRICS_PORT=str(metrics), POSTCLICK_LOG_FORMAT="json", WANDB_API_KEY=SECRET
    )
    command = [sys.executable, "-c", "from orchestration.command_line import main; main()", "serve"]
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen([*command, f"--port={grpc}"], cwd=tmp_path, env=variables, stdout=output, stderr=output) as it,
    ):
        try:
            deadline = time.monotonic() + 120
            while b"Started Dagster code server" not in log.read_bytes() and time.monotonic() < deadline:
                assert it.poll() is None, log.read_text()
                time.sleep(0.1)
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=30) as answer:
                found = answer.read().decode().splitlines()
            check = [sys.executable, "-m", "dagster", "api", "grpc-health-check", "--port", str(grpc)]
            healthy = subprocess.run(check, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        finally:
            it.send_signal(signal.SIGTERM)
            try:
                it.wait(timeout=60)
            finally:
                it.kill()
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    assert it.returncode == 0, log.read_text()
    for part in ("days", "champion", "pools"):
        assert f'postclick_readable{{dataset="tiny",part="{part}"}} 1.0' in found
    assert 'postclick_pool_places{dataset="tiny",pool="gpu"} 1.0' in found
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["dataset"] for line in lines} == {"tiny"}
    assert SECRET not in log.read_text()


def test_nothing_is_loaded_or_opened_where_no_port_is_set(tmp_path: Path):
    program = (
        "import sys, threading; from orchestration.definitions import build_definitions; "
        "from orchestration.settings import read_settings; import orchestration.command_line; "
        "build_definitions(read_settings({'metrics_port': 9464})); "
        "print('prometheus_client' in sys.modules, threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "1"]
