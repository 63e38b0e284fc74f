"""The dataset spec: what it derives, and each of its faults with YAML path, value and what would be right."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from ml.data.dataset import DatasetSpec, Days
from ml.data.dataset_file import DatasetInvalid, load_dataset, parse_dataset

TABLE = {"path": "a/{day}.csv", "format": "csv", "time": "t"}
STREAMS: dict[str, Any] = {
    "kind": "event_streams",
    "impressions": TABLE | {"impression_id": "i"},
    "clicks": TABLE | {"impression_id": "i"},
    "conversions": TABLE | {"refers_to": "impression_id", "impression_id": "i"},
}
WIDE = {"kind": "wide_log", "table": TABLE | {"impression_id": "i", "click": "c", "conversion": "b"}}
GOOD: dict[str, Any] = {
    "name": "shop",
    "days": {"first": "2026-01-05"},
    "source": STREAMS,
    "fields": [{"name": "user", "entity": "user", "kind": "id"}, {"name": "item", "entity": "item", "kind": "id"}],
    "user_key": "user",
    "item_key": "item",
}


SEEN = {"name": "seen", "entity": "user", "kind": "sequence", "of": "item", "behaviour": "click"}
RATE = {"name": "rate", "entity": "item", "kind": "number"}
BY_TIME = TABLE | {"refers_to": "user_item_time", "user": "u", "item": "i"}
ALI_CCP = {
    "kind": "ali_ccp",
    "train_skeleton": "a",
    "train_common": "b",
    "test_skeleton": "c",
    "test_common": "d",
    "pseudo_days": 3,
}


def changed(**changes: Any) -> dict[str, Any]:
    """GOOD with values replaced at dotted paths (`__` for the dot)."""
    content = yaml.safe_load(yaml.safe_dump(GOOD))
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = content
        for part in parents:
            node = node[int(part[1:]) if part.startswith("_") else part]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return content


def parse(content: dict[str, Any], **environment: str) -> DatasetSpec:
    return parse_dataset(yaml.safe_dump(content), origin="shop.yaml", environment=environment)


@pytest.mark.parametrize(
    ("changes", "path", "why", "value"),
    [
        ({"name": "My Shop"}, "name", "pattern", "'My Shop'"),
        ({"timezone": "Mars/Olympus"}, "timezone", "use an IANA name such as Asia/Shanghai", "'Mars/Olympus'"),
        ({"timezone": "America"}, "timezone", "use an IANA name", "'America'"),
        ({"days__first": "soon"}, "days.first", "valid date", "'soon'"),
        ({"days__last": "2026-01-01"}, "days", "lies before first day", "2026-01-01"),
        ({"source__kind": "kafka"}, "source", "'event_streams', 'wide_log', 'ali_ccp', 'synthetic'", "kafka"),
        ({"source__impressions__format": "xlsx"}, "source.impressions.format", "'parquet', 'csv'", "'xlsx'"),
        ({"source__impressions__path": None}, "source.impressions.path", "Field required", "csv"),
        ({"source__conversions__refers_to": "luck"}, "source.conversions.refers_to", "'click_id'", "'luck'"),
        (
            {"source__conversions__refers_to": "click_id"},
            "source.conversions",
            "needs a column for click_id",
            "refers_to",
        ),
        ({"source__clicks__impression_id": None}, "source.clicks", "needs a column for impression_id", "path"),
        ({"source__clicks__delimiter": "::"}, "source.clicks.delimiter", "at most 1 character", "'::'"),
        ({"fields___1__entity": "shop"}, "fields[1].entity", "'user', 'item' or 'context'", "'shop'"),
        ({"fields___1__name": "click"}, "fields[1]", "column of the samples table", "click"),
        ({"fields___1__buckets": 1}, "fields[1].buckets", "greater than or equal to 2", "1"),
        ({"window": {"window_days": 3, "min_days": 4}}, "window", "min_days 4 is above window_days 3", "4"),
        ({"gate": {"marginn": 0.1}}, "gate.marginn", "Extra inputs are not permitted", "0.1"),
        ({"user_key": None}, "user_key", "Field required", "days"),
    ],
)
def test_a_fault_is_named_by_its_place_in_the_file(changes: dict[str, Any], path: str, why: str, value: str) -> None:
    with pytest.raises(DatasetInvalid) as invalid:
        parse(changed(**changes))
    lines = str(invalid.value).splitlines()
    assert lines[0].startswith("dataset shop.yaml is wrong in")
    named = [line for line in lines[1:] if line.startswith(f"  {path}: ")]
    assert named, lines
    assert any(why in line and value in line for line in named), lines


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fields___1__name": "user"}, "fields named twice: user"),
        ({"user_key": "item"}, "user_key 'item' must name a field of entity user and kind id or category"),
        ({"item_key": "shop"}, "item_key 'shop' must name a field of entity item"),
        ({"fields___1__kind": "number"}, "item_key 'item' must name a field of entity item and kind id or category"),
        (
            {"fields": GOOD["fields"] + [{"name": "h", "entity": "user", "kind": "sequence", "of": "x"}]},
            "'h' is of 'x'",
        ),
        ({"source": WIDE}, "set attribution.conversion_window_days to 0"),
        ({"attribution": {"conversion_window_days": 0}}, "in which no conversion can be credited"),
        (
            {"source": WIDE, "attribution": {"conversion_window_days": 0}, "fields": [*GOOD["fields"], SEEN]},
            "which a log of kind wide_log does not have",
        ),
        ({"fields": [*GOOD["fields"], {**SEEN, "behaviour": "cart"}]}, "needs the stage 'cart'; this log has"),
        ({"fields": [*GOOD["fields"], SEEN, {**SEEN, "name": "s", "of": "seen"}]}, "sequence 's' is of 'seen'"),
        ({"fields": [*GOOD["fields"], {**RATE, "aggregate": {"by": ["x"], "count": "click"}}]}, "derived from 'x'"),
        (
            {"fields": [*GOOD["fields"], {**RATE, "aggregate": {"by": ["user"], "count": "click", "mean_of": "item"}}]},
            "the mean of 'item', which is no number field",
        ),
        (
            {"source": ALI_CCP, "attribution": {"conversion_window_days": 0}, "days__last": "2026-01-07"},
            "set days.last to 2026-01-08",
        ),
        (
            {"attribution": {"touch": "none"}, "source__conversions": BY_TIME},
            "set touch to last or first",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(DatasetInvalid, match="the whole file") as invalid:
        parse(changed(**changes))
    assert why in str(invalid.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(DatasetInvalid, match=r"wrong in 3 place\(s\)") as invalid:
        parse(changed(timezone="Mars", days__first="soon", window={"min_days": "x"}))
    assert all(f"  {path}: " in str(invalid.value) for path in ("timezone", "days.first", "window.min_days"))


def test_what_is_no_spec_at_all(tmp_path: Path) -> None:
    for text, why in (("a: [", "not valid YAML"), ("- a", "expected a mapping"), ("", "expected a mapping")):
        with pytest.raises(DatasetInvalid, match=why):
            parse_dataset(text, origin="x", environment={})
    shipped = r"neither a file nor one of the shipped specs \(ali_ccp, ali_ccp_papers, demo, expedia, taobao\)"
    with pytest.raises(DatasetInvalid, match=shipped):
        load_dataset(str(tmp_path / "none.yaml"), environment={})
    (tmp_path / "latin.yaml").write_bytes("name: caf\u00e9".encode("latin-1"))
    with pytest.raises(DatasetInvalid, match=r"latin\.yaml: not readable as UTF-8"):
        load_dataset(str(tmp_path / "latin.yaml"), environment={})


def test_a_key_given_twice_is_refused_not_overwritten() -> None:
    with pytest.raises(DatasetInvalid, match="key given twice: name"):
        parse_dataset("name: one\ndays: {first: 2026-01-01}\nname: two\n", origin="shop.yaml", environment={})


def test_variables_are_expanded_anywhere_and_a_missing_one_is_named_with_its_place(tmp_path: Path) -> None:
    content = changed(source__clicks__path="${ROOT}/x/${ROOT}.csv", description="in ${ROOT}")
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(content))
    spec = load_dataset(str(path), environment={"ROOT": "/data"})
    assert spec.description == "in /data"
    assert spec.source.clicks.path == "/data/x//data.csv"  # type: ignore[union-attr]
    with pytest.raises(DatasetInvalid, match=r"description: 'in \$\{ROOT\}' uses the variable ROOT, which is not set"):
        load_dataset(str(path), environment={})


def test_fields_are_found_by_name_and_days_by_range() -> None:
    spec = parse(GOOD)
    assert spec.field("item").entity == "item"
    with pytest.raises(KeyError, match="no field 'price'; there are user, item"):
        spec.field("price")
    days = Days(first=date(2026, 1, 5), last=date(2026, 1, 7))
    assert [days.contains(date(2026, 1, day)) for day in (4, 5, 7, 8)] == [False, True, True, False]
    assert spec.days.contains(date(2036, 1, 1))


@pytest.mark.parametrize(
    ("changes", "click_days", "label_days"),
    [
        ({}, 1, 4),
        ({"attribution": {"click_window_seconds": 86400, "conversion_window_days": 2}}, 1, 3),
        ({"attribution": {"click_window_seconds": 86401, "conversion_window_days": 1}}, 2, 3),
        ({"attribution": {"click_window_seconds": 0, "conversion_window_days": 1}}, 0, 1),
        ({"source__clicks": "implied"}, 0, 3),
        ({"source": WIDE, "attribution": {"conversion_window_days": 0}}, 0, 0),
        # A day of 23 hours: 24 hours after 23:59:59 is two days on.
        ({"timezone": "America/New_York"}, 1, 4),
        ({"timezone": "America/New_York", "attribution": {"click_window_seconds": 86400}}, 2, 5),
        ({"timezone": "America/New_York", "source__clicks": "implied"}, 0, 4),
        ({"timezone": "Asia/Shanghai", "source__clicks": "implied"}, 0, 3),
    ],
)
def test_days_until_the_labels_are_final(changes: dict[str, Any], click_days: int, label_days: int) -> None:
    spec = parse(changed(**changes))
    assert (spec.click_days, spec.label_days) == (click_days, label_days)
    assert (date(2026, 6, 30) - spec.last_mature_day(date(2026, 6, 30))).days == label_days


def test_whether_labels_are_complete_and_clicks_implied() -> None:
    wide = parse(changed(source=WIDE, attribution={"conversion_window_days": 0}))
    implied = parse(changed(source__clicks="implied"))
    assert [(spec.labels_complete, spec.clicks_implied) for spec in (wide, implied, parse(GOOD))] == [
        (True, False),
        (False, True),
        (False, False),
    ]
