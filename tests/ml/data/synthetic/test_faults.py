"""Every planted fault does what its name says, to the share of rows that was asked for, and leaves the truth alone."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ml.data.synthetic.config import Fault, FaultKind, SyntheticConfig
from ml.data.synthetic.feed import generate_day

SHARE = 0.2
STREAMS = ("impressions", "clicks", "conversions")


@pytest.fixture
def two_days(small: SyntheticConfig, day: date, tmp_path: Path, rows):
    """The streams of a day without faults and of the same day with one: the tables by stream, before and after."""

    def generate(kind: FaultKind, share: float = SHARE) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
        faulty = small.model_copy(update={"faults": (Fault(day=day, kind=kind, share=share),)})
        generate_day(config=small, day=day, root=tmp_path / "clean")
        generate_day(config=faulty, day=day, root=tmp_path / "faulty")
        clean, spoilt = ({name: rows(tmp_path / root, name) for name in STREAMS} for root in ("clean", "faulty"))
        assert rows(tmp_path / "clean", "truth").equals(rows(tmp_path / "faulty", "truth"))
        return clean, spoilt

    return generate


def test_low_volume_keeps_a_share_and_what_followed_from_it(two_days) -> None:
    clean, spoilt = two_days(FaultKind.LOW_VOLUME, 0.3)
    kept = set(spoilt["impressions"]["impression_id"].to_pylist())
    assert len(kept) == pytest.approx(0.3 * clean["impressions"].num_rows, abs=2)
    clicks = [click for click in clean["clicks"].to_pylist() if click["impression_id"] in kept]
    assert spoilt["clicks"].to_pylist() == clicks
    named = {click["click_id"] for click in clicks}
    assert spoilt["conversions"].to_pylist() == [c for c in clean["conversions"].to_pylist() if c["click_id"] in named]


def test_duplicates_repeat_whole_rows(two_days) -> None:
    clean, spoilt = two_days(FaultKind.DUPLICATES)
    before, after = (Counter(map(str, table["impressions"].to_pylist())) for table in (clean, spoilt))
    assert before.keys() == after.keys()
    assert sum(count == 2 for count in after.values()) == pytest.approx(SHARE * len(before), abs=2)
    assert max(after.values()) == 2
    assert spoilt["clicks"].equals(clean["clicks"])


def test_broken_types_make_the_price_text_that_partly_is_no_number(two_days) -> None:
    clean, spoilt = two_days(FaultKind.BROKEN_TYPES)
    assert clean["impressions"].schema.field("price").type == pa.float64()
    assert spoilt["impressions"].schema.field("price").type == pa.string()
    pairs = zip(clean["impressions"]["price"].to_pylist(), spoilt["impressions"]["price"].to_pylist(), strict=True)
    unreadable = 0
    for number, text in pairs:
        try:
            assert float(text) == number
        except ValueError:
            unreadable += 1
    assert unreadable == pytest.approx(SHARE * clean["impressions"].num_rows, abs=2)


def test_orphans_are_added_within_the_day_and_name_what_never_was(two_days, day: date) -> None:
    clean, spoilt = two_days(FaultKind.CONVERSIONS_WITHOUT_CLICK)
    clicks = set(clean["clicks"]["click_id"].to_pylist())
    orphans = [row for row in spoilt["conversions"].to_pylist() if row["click_id"] not in clicks]
    assert len(orphans) == pytest.approx(SHARE * clean["impressions"].num_rows, abs=2)
    assert {row["conversion_time"].date() for row in orphans} == {day}
    assert len({row["order_id"] for row in orphans}) == len(orphans)
    assert [row for row in spoilt["conversions"].to_pylist() if row["click_id"] in clicks] == (
        clean["conversions"].to_pylist()
    )


def test_clicks_without_impression_name_what_never_was(two_days) -> None:
    clean, spoilt = two_days(FaultKind.CLICKS_WITHOUT_IMPRESSION)
    shown = set(clean["impressions"]["impression_id"].to_pylist())
    orphans = [row for row in spoilt["clicks"].to_pylist() if row["impression_id"] not in shown]
    assert len(orphans) == pytest.approx(SHARE * len(shown), abs=2)
    assert not {row["click_id"] for row in orphans} & set(clean["clicks"]["click_id"].to_pylist())


def test_conversions_before_their_click_stay_on_its_day(two_days) -> None:
    clean, spoilt = two_days(FaultKind.CONVERSION_BEFORE_CLICK)
    clicked = {row["click_id"]: row["click_time"] for row in clean["clicks"].to_pylist()}
    early = [row for row in spoilt["conversions"].to_pylist() if row["conversion_time"] < clicked[row["click_id"]]]
    assert len(early) == pytest.approx(SHARE * clean["conversions"].num_rows, abs=3)
    assert all(clicked[row["click_id"]] - row["conversion_time"] <= timedelta(hours=1) for row in early)
    assert all(clicked[row["click_id"]].date() == row["conversion_time"].date() for row in early)


def test_a_fault_touches_no_other_day(small: SyntheticConfig, day: date, tmp_path: Path) -> None:
    faults = tuple(Fault(day=day + timedelta(days=1), kind=kind, share=SHARE) for kind in FaultKind)
    clean = generate_day(config=small, day=day, root=tmp_path / "clean")
    other = generate_day(config=small.model_copy(update={"faults": faults}), day=day, root=tmp_path / "other")
    assert clean.files == other.files


def test_all_faults_go_together(small: SyntheticConfig, day: date, tmp_path: Path, rows) -> None:
    faults = tuple(Fault(day=day, kind=kind, share=0.5) for kind in FaultKind)
    marker = generate_day(config=small.model_copy(update={"faults": faults}), day=day, root=tmp_path)
    arrived = round(0.5 * marker.truth)
    assert marker.impressions == pytest.approx(1.5 * arrived, abs=4)
    assert len(set(rows(tmp_path, "impressions")["impression_id"].to_pylist())) == pytest.approx(arrived, abs=4)
