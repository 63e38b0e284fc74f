"""A database that does not answer for a while ends neither a run nor its steps."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")

from dagster._core.executor.step_delegating import StepDelegatingExecutor
from sqlalchemy.exc import OperationalError

from orchestration import kubernetes_executor
from orchestration.kubernetes_executor import ResumableExecutor

INSTANCE: Any = SimpleNamespace(event_log_storage=SimpleNamespace(supports_global_concurrency_limits=False))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """asked[0] times the database cuts the connection; then it answers. What is slept is counted in asked[1]."""
    state = [0, 0]

    def events(*_: Any) -> list[Any]:
        if state[0]:
            state[0] -= 1
            raise OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))
        return []

    monkeypatch.setattr(StepDelegatingExecutor, "_pop_events", events)
    clock = SimpleNamespace(monotonic=lambda: float(state[1]), sleep=lambda _: state.__setitem__(1, state[1] + 1))
    monkeypatch.setattr(kubernetes_executor, "time", clock)
    return state


def pop() -> Any:
    return ResumableExecutor._pop_events(object.__new__(ResumableExecutor), INSTANCE, "run", set())


def test_a_cut_connection_is_asked_again(asked: list[int]):
    asked[0] = 5
    assert pop() == []
    assert asked == [0, 5]


def test_a_database_that_stays_away_is_a_fault(asked: list[int]):
    asked[0] = 1000
    with pytest.raises(OperationalError, match="server closed the connection"):
        pop()
    assert asked[1] == kubernetes_executor.DATABASE_SECONDS
