"""A rollback: whom it goes to, what it refuses, and that it is on the record, the asset and the page."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from assets.models import model_key
from assets.resources import DataRefused, Platform
from orchestration.build import build_platform
from orchestration.command_line import app
from orchestration.definitions import build_definitions
from orchestration.rollback import roll_back
from orchestration.rollback_job import ROLLBACK
from orchestration.settings import Settings

FIRST, SECOND, THIRD = ("a" * 64, "b" * 64, "b" * 5 + "c" * 59)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def platform(settings: Settings, spec: Any, tmp_path: Path) -> Platform:
    """Three champions, one after another, of one day each."""
    platform = build_platform(settings, spec)
    weights = tmp_path / "weights"
    weights.write_text("w")
    champion = None
    for number, model_id in enumerate((FIRST, SECOND, THIRD)):
        platform.artifacts.publish(model_key(model_id), {"weights": weights}, metadata={})
        platform.registry.promote(
            model_id=model_id, as_of=date(2026, 1, 5 + number), expected_model_id=champion, who="dagster", reason="r",
            evidence={},
        )  # fmt: skip
        champion = model_id
    return platform


@pytest.fixture
def back(platform: Platform, spec: Any, instance: dg.DagsterInstance) -> Callable[..., str]:
    def run(to: str = "previous", *, reason: str = "checkout broke", who: str = "ann") -> str:
        return roll_back(platform, spec, instance, to=to, reason=reason, who=who, warn=pytest.fail).model_id

    return run


def test_previous_is_the_champion_before_and_then_the_one_that_was_left(back: Callable[..., str]):
    assert [back(), back(), back()] == [SECOND, THIRD, SECOND]


def test_a_model_is_named_by_its_first_characters(back: Callable[..., str]):
    assert back("aaaaaa") == FIRST
    assert back(SECOND) == SECOND


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("aaaaa", "names no former champion; give 6 characters or more of one of aaaaaaa"),
        ("ffffff", "names no former champion"),
        ("", "names no former champion"),
    ],
)
def test_what_names_no_one_champion_is_refused(back: Callable[..., str], platform: Platform, to: str, why: str):
    with pytest.raises(DataRefused, match=why):
        back(to)
    assert platform.registry.champion().model_id == THIRD  # pyright: ignore[reportOptionalMemberAccess]


def test_without_a_reason_or_somebody_nothing_is_done(back: Callable[..., str]):
    for given in ({"reason": " "}, {"who": ""}):
        with pytest.raises(DataRefused, match="needs a reason"):
            back(**given)


def test_a_model_whose_bundle_is_gone_is_no_champion(back: Callable[..., str], platform: Platform):
    platform.artifacts.remove(model_key(SECOND))
    with pytest.raises(DataRefused, match="holds no bundle of it"):
        back()
    assert back(FIRST) == FIRST


def test_the_only_champion_and_none_at_all_are_said(settings: Settings, spec: Any, instance: dg.DagsterInstance):
    platform = build_platform(settings, spec)
    given = {"to": "previous", "reason": "r", "who": "ann", "warn": pytest.fail}
    with pytest.raises(DataRefused, match="no champion yet"):
        roll_back(platform, spec, instance, **given)
    platform.registry.promote(
        model_id=FIRST, as_of=date(2026, 1, 5), expected_model_id=None, who="d", reason="r", evidence={}
    )
    with pytest.raises(DataRefused, match="the only champion there ever was"):
        roll_back(platform, spec, instance, **given)


def test_it_is_on_the_record_the_asset_and_the_page(
    back: Callable[..., str], platform: Platform, instance: dg.DagsterInstance
):
    back()
    last = platform.registry.history()[-1]
    assert (last.kind, last.model_id, last.who, last.reason) == ("rolled_back", SECOND, "ann", "checkout broke")
    records = instance.fetch_observations(dg.AssetKey("promoted_model"), limit=10).records
    assert len(records) == 1
    observation = records[0].asset_observation
    assert observation is not None
    assert observation.partition == "2026-01-07"
    page = Path(str(observation.metadata["history_page"].value))
    assert "checkout broke" in page.read_text(encoding="utf-8")


def test_rolling_back_to_the_champion_leaves_no_trace(
    back: Callable[..., str], platform: Platform, instance: dg.DagsterInstance
):
    assert back(THIRD) == THIRD
    assert len(platform.registry.history()) == 3
    assert not instance.fetch_observations(dg.AssetKey("promoted_model"), limit=10).records


def test_the_command_prints_the_champion_and_refuses_with_2(
    platform: Platform, write_dataset: Callable[..., str], monkeypatch: pytest.MonkeyPatch, settings: Settings
):
    monkeypatch.setenv("POSTCLICK_HOME", str(settings.home))
    dataset = write_dataset()
    done = CliRunner().invoke(app, ["rollback", "--dataset", dataset, "--reason", "checkout broke"])
    assert done.exit_code == 0, done.output
    assert f"the champion is {SECOND}" in done.output
    refused = CliRunner().invoke(app, ["rollback", "--dataset", dataset, "--reason", "r", "--to", "zzzzzz"])
    assert isinstance(refused.exception, DataRefused)


def test_the_job_rolls_back_by_its_form_and_fails_in_words(
    platform: Platform, settings: Settings, instance: dg.DagsterInstance
):
    job = build_definitions(settings).resolve_job_def(ROLLBACK)
    quiet = {"console": {"config": {"log_level": "CRITICAL"}}}

    def run(**form: Any) -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            run_config={"ops": {"roll_back": {"config": form}}, "loggers": quiet},
            instance=instance,
            raise_on_error=False,
        )

    assert run(to="aaaaaa", reason="checkout broke").success
    assert platform.registry.champion().model_id == FIRST  # pyright: ignore[reportOptionalMemberAccess]
    failed = run(to="previous", reason="")
    assert not failed.success
    assert "needs a reason" in str(failed.failure_data_for_node("roll_back"))
