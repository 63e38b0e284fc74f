"""The training window: which days, which refusals, and never the judged day."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ml.data.policy import WindowPolicy
from ml.data.window import NEVER_VALIDATED, DayStanding, WindowRefused, choose_window

AS_OF = date(2026, 3, 3)


def standing(age: int, *, admitted: bool = True, why: str = "admitted") -> DayStanding:
    day = AS_OF - timedelta(days=age)
    return DayStanding(day=day, admitted=admitted, receipt_id=f"receipt-{age}", why=why)


def by_day(*standings: DayStanding) -> dict[date, DayStanding]:
    return {entry.day: entry for entry in standings}


def test_admitted_days_come_oldest_first_with_their_receipts_and_the_others_with_why() -> None:
    standings = by_day(standing(1), standing(2, admitted=False, why="volume: 12 rows"), standing(4), standing(5))
    policy = WindowPolicy(window_days=4, min_days=2, max_missing_days=2)
    window = choose_window(as_of=AS_OF, policy=policy, standings=standings)
    assert window.days == ((date(2026, 2, 27), "receipt-4"), (date(2026, 3, 2), "receipt-1"))
    assert window.missing == ((date(2026, 2, 28), NEVER_VALIDATED), (date(2026, 3, 1), "volume: 12 rows"))


@pytest.mark.parametrize(("min_days", "max_missing_days"), [(3, 2), (2, 1)])
def test_a_refusal_names_each_missing_day_the_counts_and_the_remedy(min_days: int, max_missing_days: int) -> None:
    standings = by_day(standing(0), standing(1), standing(2, admitted=False, why="quarantined 40 %"), standing(4))
    policy = WindowPolicy(window_days=4, min_days=min_days, max_missing_days=max_missing_days)
    with pytest.raises(WindowRefused) as refused:
        choose_window(as_of=AS_OF, policy=policy, standings=standings)
    message = str(refused.value)
    assert "no model as of 2026-03-03: of its window 2026-02-27 .. 2026-03-02 (4 days), 2 days are admitted" in message
    assert f"(min_days {min_days}) and 2 missing (max_missing_days {max_missing_days})" in message
    assert f"2026-02-28: {NEVER_VALIDATED}" in message
    assert "2026-03-01: quarantined 40 %" in message
    assert "materialize validated_samples for these days, review and accept" in message


@given(
    window_days=st.integers(1, 12),
    admitted=st.lists(st.booleans() | st.none(), min_size=20, max_size=20),
    data=st.data(),
)
def test_the_window_is_the_admitted_days_before_the_judged_day_or_a_refusal(
    window_days: int, admitted: list[bool | None], data: st.DataObject
) -> None:
    min_days = data.draw(st.integers(1, window_days))
    max_missing_days = data.draw(st.integers(0, window_days))
    policy = WindowPolicy(window_days=window_days, min_days=min_days, max_missing_days=max_missing_days)
    # Ages -3 .. 16: standings of the judged day and of days after it exist too.
    standings = by_day(*(standing(age - 3, admitted=is_in) for age, is_in in enumerate(admitted) if is_in is not None))
    expected = [age for age in range(window_days, 0, -1) if admitted[age + 3]]
    if len(expected) < min_days or window_days - len(expected) > max_missing_days:
        with pytest.raises(WindowRefused):
            choose_window(as_of=AS_OF, policy=policy, standings=standings)
        return
    window = choose_window(as_of=AS_OF, policy=policy, standings=standings)
    assert window.days == tuple((AS_OF - timedelta(days=age), f"receipt-{age}") for age in expected)
    assert len(window.days) + len(window.missing) == window_days
    assert all(day < AS_OF for day, _ in (*window.days, *window.missing))


def test_an_admitted_day_without_a_receipt_cannot_be() -> None:
    with pytest.raises(ValidationError, match="admitted without a receipt"):
        DayStanding(day=AS_OF, admitted=True, receipt_id=None, why="")


def test_a_standing_filed_under_another_day_is_refused() -> None:
    policy = WindowPolicy(window_days=1, min_days=1, max_missing_days=0)
    with pytest.raises(ValueError, match="filed under 2026-03-02 is that of 2026-03-03"):
        choose_window(as_of=AS_OF, policy=policy, standings={date(2026, 3, 2): standing(0)})
