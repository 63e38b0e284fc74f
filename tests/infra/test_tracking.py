"""The W&B mirror: whatever it does, the run that it mirrors goes on."""

import json
import os
import sys
from pathlib import Path

import pytest

from infra.tracking import TrackedRun, record
from infra.wandb_mirror import curve_points, results_table

SECRET = "0123456789abcdef" * 3
ENVIRONMENT = {"PATH": os.environ["PATH"], "WANDB_API_KEY": SECRET}


@pytest.fixture
def tracked(tmp_path: Path) -> TrackedRun:
    (tmp_path / "bundle" / "vocabulary").mkdir(parents=True)
    (tmp_path / "bundle" / "bundle.json").write_text("{}")
    (tmp_path / "bundle" / "vocabulary" / "layout.json").write_text("{}")
    lines = [{"kind": "step", "step": n, "loss": 1 / n, "parts": {"ctr": 0.5}} for n in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return TrackedRun(
        project="postclick",
        run_id="a1b2c3",
        name="cstwa 2026-01-10",
        group="2026-01-10",
        job_type="train",
        config={"model": {"name": "cstwa", "embedding": 8}, "seed": 1},
        curves=tmp_path / "metrics.jsonl",
        table_rows=[{"metric": "AUC CVR", "value": 0.71}, {"metric": "AUC CTR", "why": "not measurable"}],
        artifact_dir=tmp_path / "bundle",
        artifact_name="model-a1b2c3",
        directory=tmp_path / "wandb",
    )


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_real_offline_run_leaves_its_files(tracked: TrackedRun, tmp_path: Path):
    pytest.importorskip("wandb")
    log: list[str] = []
    home = tmp_path / "home"
    outcome = record(
        tracked,
        timeout_seconds=300,
        environment={"PATH": os.environ["PATH"], "HOME": str(home)},
        log=log.append,
    )
    assert (outcome.status, log) == ("recorded", [])
    [run_file] = tracked.directory.glob("wandb/offline-run-*-a1b2c3/run-a1b2c3.wandb")
    content = run_file.read_bytes()
    for part in (b"cstwa 2026-01-10", b"step/parts/ctr", b"model-a1b2c3", b"vocabulary/layout.json"):
        assert part in content
    [table] = tracked.directory.glob("wandb/offline-run-*/files/media/table/results_*.table.json")
    assert json.loads(table.read_text()) == {
        "columns": ["metric", "value", "why"],
        "data": [["AUC CVR", 0.71, None], ["AUC CTR", None, "not measurable"]],
    }
    assert list(tracked.directory.glob("data/artifacts/staging/*")), "staged below the directory, not in the home"
    assert not [path for path in home.rglob("*") if "artifacts" in path.parts]


def test_an_unreachable_server_is_one_log_line_in_time(tracked: TrackedRun, tmp_path: Path):
    pytest.importorskip("wandb")
    log: list[str] = []
    environment = {**ENVIRONMENT, "HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"}
    online = tracked.model_copy(update={"mode": "online", "wait_seconds": 2.0})
    outcome = record(online, timeout_seconds=300, environment=environment, log=log.append)
    assert outcome.status == "failed"
    assert "127.0.0.1:9" in outcome.detail
    assert len(log) == 1


def test_online_without_a_key_fails_and_does_not_ask(tracked: TrackedRun, tmp_path: Path):
    pytest.importorskip("wandb")
    log: list[str] = []
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"}
    online = tracked.model_copy(update={"mode": "online", "wait_seconds": 2.0})
    assert record(online, timeout_seconds=300, environment=environment, log=log.append).status == "failed"
    assert len(log) == 1


def test_a_tracker_that_raises_is_one_log_line(tracked: TrackedRun):
    log: list[str] = []
    command = program("raise RuntimeError('the server said\\nno')")
    outcome = record(tracked, command=command, timeout_seconds=60, environment=ENVIRONMENT, log=log.append)
    assert outcome.status == "failed"
    assert "exit code 1" in outcome.detail
    assert "the server said" in outcome.detail
    assert log == [f"W&B mirror of run a1b2c3 failed, nothing else is affected: {outcome.detail}"]
    assert "\n" not in log[0]


def test_a_tracker_that_hangs_is_ended(tracked: TrackedRun, tmp_path: Path):
    log: list[str] = []
    pid_file = tmp_path / "pid"
    deaf = f"trap '' TERM; echo $$ > {pid_file}; echo connecting; sleep 600"
    command = ["/bin/sh", "-c", deaf]
    outcome = record(tracked, command=command, timeout_seconds=2.5, environment=ENVIRONMENT, log=log.append)
    assert outcome.status == "timed_out"
    assert "2.5 s" in outcome.detail
    assert "connecting" in outcome.detail
    assert len(log) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.parametrize("padding", [0, 970, 990, 3000])
def test_a_secret_that_is_printed_is_scrubbed_whole(tracked: TrackedRun, padding: int):
    log: list[str] = []
    command = program(f"import os, sys; sys.exit('x' * {padding} + 'key ' + os.environ['WANDB_API_KEY'])")
    outcome = record(tracked, command=command, timeout_seconds=60, environment=ENVIRONMENT, log=log.append)
    assert outcome.status == "failed"
    for told in (outcome.detail, *log):
        assert SECRET[:6] not in told


@pytest.mark.parametrize(
    "change",
    [
        {"directory": Path("/proc/no-such-place/wandb")},
        {"curves": Path("/no/such/metrics.jsonl")},
        {"artifact_dir": Path("/no/such/bundle")},
    ],
)
def test_paths_that_fail_fail_the_mirror_alone(tracked: TrackedRun, change: dict, tmp_path: Path):
    pytest.importorskip("wandb")
    log: list[str] = []
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    run = tracked.model_copy(update=change)
    assert record(run, timeout_seconds=300, environment=environment, log=log.append).status == "failed"
    assert len(log) == 1


def test_neither_a_missing_program_nor_a_broken_log_raises(tracked: TrackedRun):
    def broken(line: str) -> None:
        raise OSError("log is closed")

    outcome = record(tracked, command=["/no-such-program"], timeout_seconds=60, environment={}, log=broken)
    assert outcome.status == "failed"
    assert "/no-such-program" in outcome.detail


def test_ctrl_c_passes_through(tracked: TrackedRun, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("infra.tracking.run_child", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(tracked, timeout_seconds=60, environment={}, log=print)


def test_relative_paths_mean_the_callers_directory(
    tracked: TrackedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    relative = tracked.model_copy(update={"curves": Path("metrics.jsonl"), "directory": Path("wandb")})
    seen = tmp_path / "seen.json"
    copy = program(f"import shutil, sys; shutil.copy(sys.argv[1], {str(seen)!r})")
    outcome = record(relative, command=copy, timeout_seconds=60, environment=ENVIRONMENT, log=print)
    assert outcome.status == "recorded"
    assert TrackedRun.model_validate_json(seen.read_text()) == tracked
    assert SECRET not in seen.read_text()


def test_steps_never_go_back_and_only_numbers_are_drawn(tmp_path: Path):
    curves = tmp_path / "metrics.jsonl"
    curves.write_text(
        '{"loss": 3}\n'
        '{"kind": "step", "step": 10, "loss": 2.5, "parts": {"ctr": 1, "why": "text"}}\n'
        '{"kind": "epoch", "step": 10, "auc": null, "auc_click": 0.7}\n'
        '{"kind": "step", "step": 4, "loss": NaN, "rate": 7}\n'
        "[1, 2]\n\n"
        '{"kind": "note", "text": "no number"}\n'
        '{"kind": "step", "step": 11, "lo'
    )
    assert list(curve_points(curves)) == [
        (0, {"loss": 3}),
        (10, {"step/loss": 2.5, "step/parts/ctr": 1}),
        (10, {"epoch/auc_click": 0.7}),
        (10, {"step/rate": 7}),
    ]


def test_a_table_takes_mixed_and_missing_values():
    pytest.importorskip("wandb")
    table = results_table([{"a": 1}, {"b": "x", "a": "not measurable"}, {"a": None}])
    assert table.columns == ["a", "b"]
    assert table.data == [[1, None], ["not measurable", "x"], [None, None]]
