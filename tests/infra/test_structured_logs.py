"""JSON log lines: their fields, Dagster's facts among them, and no secret in any line; settings are not read here."""

import json
import logging
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.structured_logs import HIDDEN, JsonLines, hide

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-and-more"


@pytest.fixture
def lines() -> JsonLines:
    formatter = JsonLines(secrets=[SECRET, "hunter2", ""])
    formatter.dataset, formatter.assets = "shop", {"validation": "quarantined_samples,validated_samples"}
    return formatter


def record(message: Any, *arguments: object, **facts: Any) -> logging.LogRecord:
    made = logging.LogRecord("dagster", logging.INFO, __file__, 1, message, arguments, None)
    vars(made).update(facts)
    return made


def meta(**facts: Any) -> dict[str, Any]:
    tags = facts.pop("tags", {})
    return {"run_id": "r1", "job_name": "backfill", "job_tags": tags, "orig_message": "said", **facts}


def test_a_line_has_time_level_logger_message_and_dataset(lines: JsonLines):
    line = json.loads(lines.format(record("joined %d rows\nof two lines", 7)))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "dagster",
        "message": "joined 7 rows\nof two lines",
        "dataset": "shop",
    }
    assert "\n" not in lines.format(record("one\ntwo"))
    moment = datetime.fromisoformat(json.loads(lines.format(record("now")))["time"])
    assert moment.utcoffset() == timedelta(0)


def test_a_run_s_line_says_run_job_step_asset_and_day(lines: JsonLines):
    facts = meta(step_key="cvr_model", op_name="validation", tags={"dagster/partition": "2026-01-09"})
    line = json.loads(lines.format(record("r1 - said", dagster_meta=facts, model_id="m1")))
    assert (line["run_id"], line["job"], line["step"], line["model_id"]) == ("r1", "backfill", "cvr_model", "m1")
    assert (line["asset"], line["partition"]) == ("quarantined_samples,validated_samples", "2026-01-09")
    assert line["message"] == "said"
    spread = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}
    assert json.loads(lines.format(record("", dagster_meta=meta(tags=spread))))["partition"] == "a..b"


def test_an_event_says_its_own_asset_and_day_and_its_error(lines: JsonLines):
    event = SimpleNamespace(
        asset_key=SimpleNamespace(to_user_string=lambda: "cvr_model"),
        partition="2026-01-08",
        event_type_value="STEP_FAILURE",
        event_specific_data=SimpleNamespace(error=SimpleNamespace(to_string=lambda: f"trace with {SECRET}")),
    )
    line = json.loads(lines.format(record("x", dagster_meta=meta(dagster_event=event))))
    assert (line["asset"], line["partition"], line["event"]) == ("cvr_model", "2026-01-08", "STEP_FAILURE")
    assert line["error"] == f"trace with {HIDDEN}"


def test_secrets_are_hidden_wherever_they_are(lines: JsonLines):
    made = record("key %s", SECRET, model_id=f"m-{SECRET}", dagster_meta=meta(job_name=SECRET, orig_message=SECRET))
    try:
        raise ValueError(SECRET)
    except ValueError:
        made.exc_info = sys.exc_info()
    line = lines.format(made)
    assert SECRET not in line
    assert "hunter2" not in line
    assert hide("abc", JsonLines(secrets=["a"]).secrets) == "abc"  # a placeholder, no secret


def test_structlog_s_records_give_their_event(lines: JsonLines):
    assert json.loads(lines.format(record({"event": "started", "port": 1})))["message"] == "started"


PROGRAM = f"""
import logging, logging.config, sys, threading, warnings
import coloredlogs
from infra.structured_logs import describe, hide_secrets, install
logging.getLogger("old").addHandler(logging.StreamHandler())
hide_secrets(["{SECRET}"])
install(secrets=["{SECRET}"]); install(secrets=["{SECRET}"])
describe(dataset="shop")
logging.getLogger("old").warning("old %s", "{SECRET}")
late = logging.getLoggerClass()("run", level="DEBUG")
coloredlogs.install(logger=late, level="DEBUG", fmt="%(message)s")
late.debug("late {SECRET}")
logging.config.dictConfig({{"version": 1, "disable_existing_loggers": False,
    "formatters": {{"plain": {{"format": "%(message)s"}}}},
    "handlers": {{"own": {{"class": "logging.StreamHandler", "formatter": "plain", "stream": sys.stdout}}}},
    "loggers": {{"dagster": {{"handlers": ["own"], "level": "INFO"}}}}}})
logging.getLogger("dagster.code_server").info("configured anew")
logging.getLogger("any").warning("library")
logging.getLogger("any").info("not told")
logging.getLogger("postclick").info("progress")
logging.getLogger("any").warning("%d rows", "many")
warnings.warn("careful")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()
assert logging.makeLogRecord({{}}) is not None
raise RuntimeError("last words {SECRET}")
"""


def test_every_line_of_a_process_is_json_whoever_made_its_logger():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    found = [json.loads(line) for line in (done.stderr + done.stdout).splitlines()]
    said = [line["message"] for line in found]
    assert SECRET not in done.stderr + done.stdout
    assert {line["dataset"] for line in found} == {"shop"}
    told = [f"old {HIDDEN}", f"late {HIDDEN}", "library", "progress", "%d rows ('many',)", "configured anew"]
    assert [message for message in said if message in told] == told
    assert sum("careful" in message for message in said) == 1
    assert "not told" not in said
    in_thread, last = [line for line in found if line["level"] == "CRITICAL"]
    assert in_thread["message"] == "ZeroDivisionError: division by zero"
    assert "Traceback" in in_thread["error"]
    assert last["message"] == f"RuntimeError: last words {HIDDEN}"
    assert "Traceback" in last["error"]


def test_secrets_are_kept_out_of_text_lines_too():
    program = f"""
import logging
from infra.structured_logs import hide_secrets
hide_secrets(["{SECRET}"])
logging.basicConfig()
logging.warning("the key is %s", "{SECRET}")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == f"WARNING:root:the key is {HIDDEN}\n"
