"""`postclick history`: the page is written anew, its place and the newest days are printed, mistakes are named."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from assets.model_history import NAME
from assets.resources import Platform
from ml.report import history as history_page
from orchestration.build import build_platform
from orchestration.command_line import app
from orchestration.settings import read_settings
from tests.assets.judged_history import store_evaluation

FIRST = date(2026, 1, 6)


@pytest.fixture
def postclick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_dataset: Callable[..., str]
) -> Callable[..., Result]:
    """postclick(*arguments): `postclick history` in this process, on a home of the test's own, without pictures."""
    monkeypatch.setenv("POSTCLICK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POSTCLICK_DATASET", write_dataset())
    monkeypatch.setattr(history_page, "draw_history", lambda days: [])
    return lambda *arguments: CliRunner().invoke(app, ["history", *arguments])


@pytest.fixture
def judged(postclick: Callable[..., Result], tmp_path: Path) -> Platform:
    """A store with four judged days, the first of which made the champion."""
    settings = read_settings()
    platform = build_platform(settings, settings.dataset_spec())
    for age, decision in enumerate(("promoted", "rejected", "insufficient_evidence", "unchanged")):
        store_evaluation(
            platform, tmp_path / "judged", FIRST + timedelta(days=age), model_id=f"m{age}", decision=decision
        )
    platform.registry.promote(
        model_id="m0", as_of=FIRST, expected_model_id=None, who="ann", reason="first", evidence={}
    )
    return platform


def test_the_page_is_written_and_the_days_are_printed(postclick: Callable[..., Result], judged: Platform):
    result = postclick()
    assert result.exit_code == 0, result.output
    for told in ("2026-01-06", "Promoted", "Rejected", "Not enough evidence", "Champion, unchanged", "0.7000", "300"):
        assert told in result.stdout, told
    page = Path(result.stdout.strip().splitlines()[-1].removeprefix("page: "))
    assert "Champion: esmm as of 2026-01-06" in page.read_text(encoding="utf-8")
    assert judged.artifacts.find(NAME) is not None


def test_the_last_days_alone(postclick: Callable[..., Result], judged: Platform):
    result = postclick("--last", "2")
    assert "2026-01-07" not in result.stdout
    assert "2026-01-08" in result.stdout
    assert "2026-01-09" in result.stdout


def test_a_file_of_ones_own_has_links_that_work_from_anywhere(
    postclick: Callable[..., Result], judged: Platform, tmp_path: Path
):
    out = tmp_path / "mine.html"
    result = postclick("--out", str(out))
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().endswith(f"page: {out}")
    assert f'href="file://{judged.objects.location}/evaluation_report/2026-01-06/' in out.read_text(encoding="utf-8")
    assert judged.artifacts.find(NAME) is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--last", "0"], "greater than or equal to 1"),
        (["--out", "/nowhere/page.html"], "/nowhere/page.html is no place"),
    ],
)
def test_wrong_arguments_are_named(postclick: Callable[..., Result], arguments: list[str], told: str):
    result = postclick(*arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", "").split())


def test_nothing_judged_yet_is_no_fault(postclick: Callable[..., Result]):
    result = postclick()
    assert result.exit_code == 0, result.output
    assert "page: " in result.stdout
