"""A day restated between embeddings and model: two versions of a day never meet in one model."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

pytestmark = pytest.mark.end_to_end
AS_OF = date(2026, 1, 8)


@pytest.fixture(scope="module")
def prepared(make_home: Callable[[str], Any]) -> Any:
    """A home with four days of data and the embeddings and graphs as of the last of them."""
    home = make_home("restated")
    assert home.data([AS_OF - timedelta(days=age) for age in (3, 2, 1, 0)]).fault is None
    assert home.materialize("ctr_embeddings", "user_graph", "item_graph", as_of=AS_OF).success
    return home


def republish(home: Any, folder: Path, asset: str, **changes: Any) -> None:
    """The asset's artifact with the same files and some of its metadata changed."""
    artifact = home.platform.artifacts.open(f"{asset}/{AS_OF}")
    files = {name: artifact.path(name) for name in artifact.manifest.files}
    copies = {name: folder / asset / name for name in files}
    for name, path in files.items():
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        copies[name].write_bytes(path.read_bytes())
    home.platform.artifacts.publish(f"{asset}/{AS_OF}", copies, metadata={**artifact.manifest.metadata, **changes})


def refusal(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    return str(failure.step_failure_data.user_failure_data.description)


def test_embeddings_of_other_receipts_are_refused(prepared: Any, tmp_path: Path) -> None:
    known = prepared.platform.artifacts.find(f"ctr_embeddings/{AS_OF}").metadata
    day = min(known["receipts"])
    republish(prepared, tmp_path, "ctr_embeddings", receipts={**known["receipts"], day: "0" * 64})
    result = prepared.materialize("cvr_model", as_of=AS_OF)
    republish(prepared, tmp_path / "back", "ctr_embeddings", receipts=known["receipts"])

    assert not result.success
    assert f"was made from other receipts of {day}; materialize ctr_embeddings" in refusal(result)
    assert list(prepared.platform.artifacts.keys("models/")) == []


def test_a_graph_of_other_embeddings_is_refused(prepared: Any, tmp_path: Path) -> None:
    known = prepared.platform.artifacts.find(f"user_graph/{AS_OF}").metadata
    republish(prepared, tmp_path, "user_graph", embedding_id="f" * 64)
    result = prepared.materialize("cvr_model", as_of=AS_OF)
    republish(prepared, tmp_path / "back", "user_graph", embedding_id=known["embedding_id"])

    assert not result.success
    assert "materialize the graph again" in refusal(result)


def test_without_the_judged_days_data_nothing_is_evaluated(prepared: Any) -> None:
    result = prepared.materialize("evaluation_report", as_of=AS_OF + timedelta(days=1))
    assert not result.success
    assert f"the judged day {AS_OF + timedelta(days=1)} has no receipt; materialize its data assets" in refusal(result)


def test_too_few_admitted_days_refuse_the_window_by_name(prepared: Any) -> None:
    result = prepared.materialize("ctr_embeddings", as_of=AS_OF + timedelta(days=3))
    assert not result.success
    message = refusal(result)
    assert "no model as of 2026-01-11" in message
    assert "2026-01-09" in message
    assert "2026-01-10" in message
