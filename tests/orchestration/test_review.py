"""A decision is in the day's record, on its page and on the asset: who, why, and how the day stands since."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.receipts import day_standing, read_decisions
from assets.resources import DataRefused
from assets.review_pages import review_file
from data_checks.decisions import Decision
from data_checks.receipts import Receipt
from orchestration.build import build_platform
from orchestration.review import review_day, this_user
from orchestration.settings import Settings

NOW = datetime(2026, 1, 20, 9, tzinfo=UTC)
DAY = date(2026, 1, 6)


@pytest.fixture
def refused(settings: Settings, spec: Any, tmp_path: Path) -> Any:
    """A platform whose store holds a refused day that could not be joined."""
    platform = build_platform(settings, spec)
    empty = dict.fromkeys(("rows_in", "impressions", "quarantined", "clicks", "conversions"), 0)
    receipt = Receipt(
        dataset="tiny",
        day=DAY,
        input_version="v",
        rules_version="r",
        label_horizon=None,
        events=None,
        bad_share=0,
        max_bad_share=0.05,
        verdict="refused",
        reasons=("too few rows",),
        rules=(),
        content_sha256="0",
        quarantine_sha256="0",
        **(empty | {"rows_in": 3, "admitted": 3, "mature": 3}),
    )
    file = tmp_path / "receipt.json"
    file.write_bytes(receipt.canonical_json())
    platform.artifacts.publish(f"validated_samples/{DAY}", {"receipt.json": file}, metadata={})
    return platform


@pytest.fixture
def reviewing(refused: Any, spec: Any) -> Iterator[SimpleNamespace]:
    """reviewing.decide(kind, reason): a decision of ann's; reviewing.shown(): observations of the day, newest first."""
    with dg.DagsterInstance.ephemeral() as instance:

        def decide(kind: str, reason: str = "a public holiday") -> Decision:
            given = {"day": DAY, "decision": kind, "reason": reason, "reviewer": "ann", "decided_at": NOW}
            return review_day(refused, spec, instance, **given)

        def shown() -> list[Any]:
            filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey("validated_samples"), asset_partitions=[str(DAY)])
            return [record.asset_observation for record in instance.fetch_observations(filters, limit=9).records]

        yield SimpleNamespace(platform=refused, decide=decide, shown=shown)


def page(platform: Any) -> str:
    file = review_file(platform, DAY)
    assert file is not None
    return file.read_text(encoding="utf-8")


def test_a_decision_is_recorded_shown_on_the_day_and_on_its_page(reviewing: SimpleNamespace) -> None:
    reviewing.decide("accept")
    assert "accepted by ann: trained on" in page(reviewing.platform)
    reviewing.decide("exclude", "no holiday after all")
    assert [decision.decision for decision in read_decisions(reviewing.platform, DAY)] == ["accept", "exclude"]
    newest, oldest = reviewing.shown()
    assert newest.description == "exclude by ann: no holiday after all"
    assert "no holiday after all" in str(newest.metadata["standing"].value)
    assert Path(newest.metadata["review_page"].value).read_text(encoding="utf-8") == page(reviewing.platform)
    assert "Excluded by ann: not trained on" in page(reviewing.platform)
    assert oldest.metadata["decision"].value == "accept"


def test_a_revocation_gives_the_day_back_to_its_verdict_and_nothing_is_lost(reviewing: SimpleNamespace) -> None:
    reviewing.decide("accept")
    assert day_standing(reviewing.platform, DAY).admitted
    reviewing.decide("revoke", "it was no holiday")
    standing = day_standing(reviewing.platform, DAY)
    assert not standing.admitted
    assert "ann revoked what was decided before: it was no holiday" in standing.why
    assert [decision.decision for decision in read_decisions(reviewing.platform, DAY)] == ["accept", "revoke"]
    assert "Refused: not trained on" in page(reviewing.platform)
    assert reviewing.shown()[0].description == "revoke by ann: it was no holiday"


def test_there_must_be_something_to_revoke(reviewing: SimpleNamespace) -> None:
    with pytest.raises(
        DataRefused, match="2026-01-06 has no decision to revoke: it stands by its own verdict, refused"
    ):
        reviewing.decide("revoke")
    reviewing.decide("exclude")
    reviewing.decide("revoke")
    with pytest.raises(DataRefused, match="no decision to revoke"):
        reviewing.decide("revoke")
    assert len(read_decisions(reviewing.platform, DAY)) == 2


@pytest.mark.parametrize(
    ("kind", "reason", "told"),
    [("accept", " ", "reason: is ' '; say who decides and why"), ("ignore", "x", "'accept', 'exclude' or 'revoke'")],
)
def test_a_wrong_decision_is_refused_in_words_and_leaves_nothing(
    reviewing: SimpleNamespace, kind: str, reason: str, told: str
) -> None:
    with pytest.raises(DataRefused, match=f"nothing was decided on 2026-01-06: .*{told}"):
        reviewing.decide(kind, reason)
    assert read_decisions(reviewing.platform, DAY) == ()
    assert reviewing.shown() == []


def test_there_must_be_a_receipt_to_decide_on(settings: Settings, spec: Any) -> None:
    platform = build_platform(settings, spec)
    given: Any = {"decision": "accept", "reason": "why not", "reviewer": "ann", "decided_at": NOW}
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(DataRefused, match="has no receipt to decide on; materialize validated_samples"),
    ):
        review_day(platform, spec, instance, day=DAY, **given)
    assert read_decisions(platform, DAY) == ()


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert this_user()

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1000660000")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert this_user().startswith("uid ")


def test_commands_on_the_page_name_the_spec_by_its_whole_path(
    tmp_path: Path, write_dataset: Callable[..., str], settings: Settings, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(write_dataset())
    monkeypatch.chdir(path.parent)
    relative = settings.model_copy(update={"dataset": path.name})
    assert build_platform(relative, spec).dataset_argument == str(path)
    assert build_platform(settings.model_copy(update={"dataset": "demo"}), spec).dataset_argument == "demo"
