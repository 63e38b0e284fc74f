"""Settings: every wrong variable is named with value and remedy, and secrets go to the tracking child alone."""

import logging
import os
import sys
from pathlib import Path

import pytest

from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import DatasetInvalid
from orchestration.build import build_platform
from orchestration.settings import SettingsInvalid, prepare_process, read_settings

SECRET = "a-key-that-nobody-may-see-0123456789"


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("POSTCLICK_THREADS", "0", "greater than or equal to 1"),
        ("POSTCLICK_THREADS", "two", "valid integer"),
        ("POSTCLICK_DEVICE", "tpu", "'cpu' or 'cuda'"),
        ("POSTCLICK_CPU_HOUR_PRICE", "-0.1", "greater than or equal to 0"),
        ("POSTCLICK_GPU_HOUR_PRICE", "cheap", "valid number"),
        ("POSTCLICK_GPU_HOUR_PRICE", "nan", "finite number"),
        ("POSTCLICK_STORE", "gs://bucket", "s3://bucket or s3://bucket/prefix"),
        ("POSTCLICK_STORE", "s3://", "s3://bucket or s3://bucket/prefix"),
        ("POSTCLICK_EXECUTOR", "k8s", "'in_process', 'multiprocess' or 'kubernetes'"),
        ("POSTCLICK_WANDB_PROJECT", "", "at least 1 character"),
        ("POSTCLICK_LOG_FORMAT", "xml", "'text' or 'json'"),
        ("POSTCLICK_METRICS_PORT", "0", "greater than or equal to 1"),
        ("POSTCLICK_TRACKING_TIMEOUT_SECONDS", "-1", "greater than 0"),
        ("POSTCLICK_TRACKING_TIMEOUT_SECONDS", "86400", "less than or equal to 3600"),
    ],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_wrong_variable_is_named_with_its_value_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, remedy: str, place: str
):
    if place == "environment":
        monkeypatch.setenv(variable, value)
    else:
        Path(".env").write_text(f"{variable}={value}\n")
    with pytest.raises(SettingsInvalid) as error:
        read_settings()
    [line] = str(error.value).splitlines()
    assert line.startswith(f"{variable}: ")
    assert f"found {value!r}" in line
    assert remedy in line
    assert line.endswith("correct it or unset it")


def test_all_wrong_variables_are_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POSTCLICK_THREADS", "0")
    monkeypatch.setenv("POSTCLICK_DEVICE", "tpu")
    with pytest.raises(SettingsInvalid) as error:
        read_settings()
    assert {line.partition(":")[0] for line in str(error.value).splitlines()} == {
        "POSTCLICK_THREADS",
        "POSTCLICK_DEVICE",
    }


def test_an_override_comes_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch):
    Path(".env").write_text("POSTCLICK_THREADS=3\nPOSTCLICK_WANDB_PROJECT=of-the-file\nWANDB_API_KEY=of-the-file\n")
    monkeypatch.setenv("POSTCLICK_THREADS", "4")
    settings = read_settings()
    assert (settings.threads, settings.wandb_project) == (4, "of-the-file")
    assert settings.wandb_api_key is not None
    assert settings.wandb_api_key.get_secret_value() == "of-the-file"
    assert read_settings({"threads": 5}).threads == 5


def test_defaults_stand_on_a_bare_machine(tmp_path: Path, spec: DatasetSpec, bare_environment: Path):
    settings = read_settings()
    assert (settings.dataset, settings.device, settings.executor) == ("demo", "cpu", "in_process")
    assert settings.dataset_spec().name == "demo"
    assert settings.dataset_home(spec) == bare_environment / "var" / "tiny"
    assert settings.dagster_folder(spec) == bare_environment / "var" / "tiny" / "dagster"


def test_dagster_home_is_honoured(monkeypatch: pytest.MonkeyPatch, spec: DatasetSpec, tmp_path: Path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "elsewhere"))
    assert read_settings().dagster_folder(spec) == tmp_path / "elsewhere"


def test_the_folder_of_raw_files_reaches_the_specs_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(DatasetInvalid, match="POSTCLICK_DATA, which is not set"):
        read_settings({"dataset": "expedia"}).dataset_spec()
    Path(".env").write_text(f"POSTCLICK_DATA={tmp_path}\n")
    assert str(tmp_path) in str(read_settings({"dataset": "expedia"}).dataset_spec().source)


def test_children_inherit_no_secret_and_the_tracking_child_alone_the_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    for name in ("AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "GITHUB_TOKEN", "SOMETHING_ELSE"):
        monkeypatch.setenv(name, SECRET)
    settings = read_settings()
    child, tracking = settings.child_environment(), settings.tracking_environment()
    assert SECRET not in "".join(child.values())
    assert {name for name, value in tracking.items() if SECRET in value} == {"WANDB_API_KEY"}
    assert tracking == {**child, "WANDB_API_KEY": SECRET}


def test_a_child_finds_this_code_and_keeps_its_threads_asleep(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    child = read_settings({"threads": 3}).child_environment()
    assert {child[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}
    assert child["OMP_WAIT_POLICY"] == "PASSIVE"
    assert child["PYTHONPATH"].split(os.pathsep) == [path for path in sys.path if path]


def test_no_text_shows_the_key(monkeypatch: pytest.MonkeyPatch, spec: DatasetSpec, tmp_path: Path):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    settings = read_settings({"home": tmp_path})
    platform = build_platform(settings, spec)
    assert platform.tracking.online
    for thing in (settings, platform, platform.tracking):
        for text in (repr(thing), str(thing), f"{thing}"):
            assert SECRET not in text
    assert SECRET not in settings.model_dump_json()
    monkeypatch.setenv("POSTCLICK_THREADS", "0")
    with pytest.raises(SettingsInvalid) as error:
        read_settings()
    assert SECRET not in str(error.value)


def test_metrics_without_a_client_name_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POSTCLICK_METRICS_PORT", "9464")
    assert read_settings().metrics_port == 9464
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsInvalid, match=r"POSTCLICK_METRICS_PORT.*prometheus-client: pip install"):
        read_settings()


def test_every_secret_is_kept_out_of_what_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    webhook = "https://hooks.example/secret-part"
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("POSTCLICK_ALERT_WEBHOOK", webhook)
    names = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DAGSTER_PG_PASSWORD")
    for name in names:
        monkeypatch.setenv(name, f"{name}-value")
    settings = read_settings({"home": tmp_path})
    secrets = {SECRET, webhook, *(f"{name}-value" for name in names)}
    assert set(settings.secrets()) == secrets
    prepare_process(settings)
    logging.getLogger("any").warning("leaked: %s", " ".join(secrets))
    assert "leaked" in caplog.text
    assert not any(secret in caplog.text for secret in secrets)


def test_the_process_keeps_what_was_set_and_gets_the_rest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    prepare_process(read_settings({"threads": 2}))
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_the_environment_is_read_nowhere_else():
    root = Path(__file__).parents[2]
    readers = {
        path.relative_to(root).as_posix()
        for folder in ("orchestration", "assets", "ml", "data_checks", "infra")
        for path in (root / folder).rglob("*.py")
        if "os.environ" in (text := path.read_text(encoding="utf-8")) or "getenv" in text
    }
    # the command line hands its own environment on to `dagster dev`, and `python -m ml` sets its own threads' policy
    assert readers <= {"orchestration/settings.py", "orchestration/command_line.py", "ml/__main__.py"}
