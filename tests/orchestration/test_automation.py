"""Three simulated weeks of arrivals: the schedule's nights, restated days between them, and what is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import pytest

from assets.automation import GRACE_DAYS
from assets.chain import build_chain
from assets.partitions import DATA_GROUP
from ml.data.dataset import DatasetSpec
from orchestration.automation import build_automation
from orchestration.schedules import days_of_tick

FIRST = date(2026, 3, 2)
NIGHTS = [FIRST + timedelta(days=offset) for offset in range(1, 22)]
DATA = ("raw_events", "raw_conversions", "joined_samples", "validated_samples", "quarantined_samples")
DERIVED = {"joined_samples", "validated_samples", "quarantined_samples"}

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")


@dataclass
class Weeks:
    """A log that goes on, the instance that its arrivals are reported to, and the conditions' memory."""

    instance: dg.DagsterInstance
    spec: DatasetSpec
    cursor: object = None
    assets: list[dg.AssetsDefinition] = field(default_factory=list)

    def arrive(self, day: date, *names: str) -> None:
        """Report `names` as materialized for `day`."""
        for name in names:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=day.isoformat()))

    def night(self, today: date) -> None:
        """What the schedule's tick of `today` materializes: the data job on both of its keys."""
        for day in days_of_tick(self.spec, today=today):
            self.arrive(day, *DATA)

    def asked(self, today: date, hour: int) -> dict[date, set[str]]:
        """What the conditions ask for at `hour` of `today`, which then happens."""
        result = dg.evaluate_automation_conditions(
            dg.Definitions(assets=self.assets, resources={"platform": dg.ResourceDefinition.none_resource()}),
            self.instance,
            asset_selection=dg.AssetSelection.groups(DATA_GROUP),
            evaluation_time=datetime.combine(today, time(hour), UTC),
            cursor=self.cursor,  # pyright: ignore[reportArgumentType]
        )
        self.cursor = result.cursor
        requested: dict[date, set[str]] = {}
        for name in DATA:
            for key in sorted(result.get_requested_partitions(dg.AssetKey(name))):
                assert key is not None
                requested.setdefault(date.fromisoformat(key), set()).add(name)
        for day, names in requested.items():
            self.arrive(day, *(name for name in DATA if name in names))
        return requested


@pytest.fixture
def weeks(spec: DatasetSpec) -> Iterator[Weeks]:
    days = spec.days.model_copy(update={"first": FIRST, "last": None})
    log = spec.model_copy(
        update={"days": days, "attribution": spec.attribution.model_copy(update={"conversion_window_days": 2})}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Weeks(instance=instance, spec=log, assets=build_chain(log))


def test_three_weeks_of_nights_alone_ask_for_nothing(weeks: Weeks) -> None:
    for today in NIGHTS:
        weeks.night(today)
        assert weeks.asked(today, 3) == {}, today
        assert weeks.asked(today, 9) == {}, today


def test_a_restated_day_inside_its_window_is_joined_and_validated_once(weeks: Weeks) -> None:
    restated = {NIGHTS[10]: 1, NIGHTS[13]: 3, NIGHTS[17]: weeks.spec.label_days + GRACE_DAYS}
    for today in NIGHTS:
        weeks.night(today)
        assert weeks.asked(today, 3) == {}, today
        expected = {}
        if today in restated:
            day = today - timedelta(days=restated[today])
            weeks.arrive(day, "raw_events")
            expected = {day: DERIVED}
        assert weeks.asked(today, 9) == expected, today
        assert weeks.asked(today, 10) == {}, today


def test_an_old_restated_day_waits_until_someone_asks(weeks: Weeks) -> None:
    for today in NIGHTS:
        weeks.night(today)
        if today == NIGHTS[15]:
            weeks.arrive(FIRST, "raw_events", "raw_conversions")
        assert weeks.asked(today, 9) == {}, today


def test_restated_conversions_wait_for_the_final_key(weeks: Weeks) -> None:
    for today in NIGHTS:
        weeks.night(today)
        weeks.arrive(today - timedelta(days=1), "raw_conversions")
        assert weeks.asked(today, 9) == {}, today


def test_a_day_that_was_landed_and_never_joined_is_made_up_for_the_same_morning(weeks: Weeks) -> None:
    lost = NIGHTS[8] - timedelta(days=1)
    made_up = {}
    for today in NIGHTS[:14]:
        weeks.arrive(today - timedelta(days=1), "raw_events", "raw_conversions")
        for day in days_of_tick(weeks.spec, today=today):
            if day != lost:
                weeks.arrive(day, *DERIVED)
        if asked := weeks.asked(today, 9):
            made_up[today] = asked
    assert made_up == {NIGHTS[8]: {lost: DERIVED}}


def test_the_sensor_is_stopped_until_someone_starts_it() -> None:
    (sensor,) = build_automation()
    assert (sensor.name, sensor.default_status) == ("restated_days", dg.DefaultSensorStatus.STOPPED)
