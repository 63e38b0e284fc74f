"""What a rule is: families, parameters, the bounds of a day in its time zone."""

from datetime import date, datetime, timedelta

import pytest

from data_checks.rules import day_bounds, parameters_used


@pytest.mark.parametrize(
    ("day", "timezone", "start", "hours"),
    [
        (date(2026, 3, 2), "UTC", datetime(2026, 3, 2), 24),
        (date(2026, 3, 2), "Asia/Shanghai", datetime(2026, 3, 1, 16), 24),
        (date(2026, 3, 29), "Europe/Berlin", datetime(2026, 3, 28, 23), 23),
        (date(2026, 10, 25), "Europe/Berlin", datetime(2026, 10, 24, 22), 25),
    ],
)
def test_a_day_is_as_long_as_its_time_zone_makes_it(day: date, timezone: str, start: datetime, hours: int) -> None:
    assert day_bounds(day, timezone) == (start, start + timedelta(hours=hours))


def test_a_parameter_is_used_when_its_whole_name_occurs() -> None:
    parameters = {"day": 1, "day_start": 2, "median": 3}
    assert parameters_used("x < $day_start OR median > 3", parameters) == {"day_start": 2}
