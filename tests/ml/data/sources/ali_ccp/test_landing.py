"""Ali-CCP's files landed by pseudo-day: which rows, when, what is wrong with one, and files that are refused."""

import gzip
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.data.sources.tables import LandingRefused
from tests.ml.data.sources.ali_ccp.published_files import (
    FIELDS,
    common,
    item,
    land,
    land_days,
    make_spec,
    sample,
    write_part,
)

#: Users 11 and 12, the first of them under two indexes; items stand in another order in each.
COMMONS = (
    common("a0", [item(101, 11), item(124, 1), item("150_14", 501, 0.69315), item("150_14", 502, 2.3979)]),
    common("b0", [item("150_14", i, w) for i, w in ((7, 0.5), (8, 3.5), (9, 1.5), (6, 2.5))] + [item(101, 12)]),
    common("a1", [item(124, 2), item(101, 11)]),
)
SAMPLES = (
    sample(
        1, "a0", [item(205, 91), item(216, 31), item(210, 71), item(210, 72), item(853, 4, 0.25)], click=1, bought=1
    ),
    sample(2, "b0", [item(210, 73), item(205, 92)], click=1),
    sample(3, "a1", [item(853, 4, 1.75), item(205, 91)]),
    sample(4, "a0", [item(205, 93)], bought=1),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The hand-written files, train and test."""
    write_part(tmp_path, SAMPLES, COMMONS)
    write_part(tmp_path, SAMPLES[:3], COMMONS, part="test")
    return tmp_path


def only_day(folder: Path, samples: Sequence[str] = SAMPLES, commons: Sequence[str] = COMMONS, **more: Any) -> Any:
    """The rows of a train file of one day."""
    write_part(folder, samples, commons)
    [day] = land(make_spec(folder, **more), 0, root=folder / "out")
    return day


def numbered(numbers: Sequence[int]) -> list[str]:
    return [sample(number, "a0", [item(205, number)]) for number in numbers]


def test_samples_land_with_their_common_features_under_the_names_of_the_spec(folder: Path) -> None:
    [[first, second, third, fourth]] = land(make_spec(folder), 0, root=folder / "out")
    assert first == {
        "impression_id": "train-1",
        "impression_time": datetime(2026, 1, 1),
        "click": 1,
        "conversion": 1,
        "click_time": None,
        "conversion_time": None,
        "value": None,
        "order_id": None,
        "user_key": "11",
        "item_key": "91",
        "unit_key": "11",
        "user": "11",
        "age": "1",
        "item": "91",
        "brand": "31",
        "affinity": 0.25,
        "intention": ["71", "72"],
        "brands": ["501", "502"],
        "brands_weights": [0.69315, 2.3979],
        "unparsed_columns": [],
        "source_file": "sample_skeleton_train.csv",
        "source_row": 1,
        "source_line": 1,
    }
    assert (second["user"], second["age"], second["brand"], second["intention"]) == ("12", None, None, ["73"])
    # The heaviest three, lightest first.
    assert (second["brands"], second["brands_weights"]) == (["9", "6", "8"], [1.5, 2.5, 3.5])
    # Another index, the same user.
    assert (third["user"], third["age"], third["affinity"], third["brands"]) == ("11", "2", 1.75, None)
    # A conversion without a click is for the rules to find, not for the reader.
    assert (fourth["click"], fourth["conversion"], fourth["unparsed_columns"]) == (0, 1, [])


def test_the_train_file_is_days_of_equal_size_by_the_number_of_the_sample(folder: Path) -> None:
    # 10 comes after 9, not after 1, wherever their lines stand.
    write_part(folder, numbered([10, 2, 7, 1, 9, 4, 3, 8, 6, 5]), COMMONS)
    *days, test_day = land(make_spec(folder, days=3), 0, 1, 2, 3, root=folder / "out")
    # Within a day rows keep the order of the file.
    assert [[int(row["item"]) for row in day] for day in days] == [[2, 1, 4, 3], [7, 6, 5], [10, 9, 8]]
    assert [row["source_row"] for row in days[0]] == [2, 4, 6, 7]
    assert [row["source_line"] for row in days[2]] == [1, 5, 8]
    # The test file numbers its samples anew: they are other impressions.
    assert [row["impression_id"] for row in test_day] == ["test-1", "test-2", "test-3"]
    assert {row["source_file"] for row in test_day} == {"sample_skeleton_test.csv"}


def test_rows_of_one_number_are_of_one_day_where_the_rules_find_them(folder: Path) -> None:
    write_part(folder, numbered([1, 2, 2, 2, 3, 4]), COMMONS)
    first, second = land(make_spec(folder, days=2), 0, 1, root=folder / "out")
    assert [row["item"] for row in first] == ["1", "2", "2", "2"]
    assert [row["item"] for row in second] == ["3", "4"]


def test_fewer_rows_than_days_leave_days_empty(folder: Path) -> None:
    write_part(folder, numbered([5, 6]), COMMONS)
    landed = land(make_spec(folder, days=5), 0, 1, 2, 3, 4, root=folder / "out")
    assert [len(day) for day in landed] == [1, 0, 1, 0, 0]


def test_times_are_the_order_spread_over_the_day_of_the_log(folder: Path) -> None:
    day = only_day(folder, numbered([4, 3, 2, 1]), timezone="Asia/Shanghai")
    times = {int(row["item"]): row["impression_time"] for row in day}
    assert times == {number: datetime(2025, 12, 31, 16) + timedelta(hours=6 * (number - 1)) for number in (1, 2, 3, 4)}


def test_a_day_on_which_clocks_are_put_forward_is_an_hour_shorter(folder: Path) -> None:
    day = only_day(folder, numbered([1, 2]), timezone="Europe/Berlin", first=date(2026, 3, 29))
    assert [row["impression_time"] for row in day] == [datetime(2026, 3, 28, 23), datetime(2026, 3, 29, 10, 30)]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (sample(1, "a0", [item(205, 91), item(216, 3)], count=3), "feature_count=3, 2 found"),
        (sample(1, "a0", [item(205, 91)], count="many"), "feature_count=many, 1 found"),
        (sample(1, "a0", [], count=2), "feature_count=2, 0 found"),
        (sample(1, "zz", [item(205, 91)]), "common_feature_index=zz, not in common_features_train.csv"),
        (sample(1, "", [item(205, 91)]), "common_feature_index=, not in common_features_train.csv"),
        (sample(1, "twice", [item(205, 91)]), "common_feature_index=twice, 2 rows of common_features_train.csv"),
        (sample(1, "short", [item(205, 91)]), "common_feature_count=9, 1 found"),
        (sample(1, "odd", [item(205, 91)]), "common_features=101␂␃1"),
        (sample(1, "a0", [item(205, 91), "216\x023"]), "features=216␂3"),
        (sample(1, "a0", [item(205, 91), item("150_14", 3, "much")]), "features=150_14␂3␃much"),
        (sample(1, "a0", [item(205, 91), item(205, 92)]), "item=91|92"),
        (sample(1, "a0", [item(205, 91), item(101, 12)]), "user=12|11"),
        (sample(1, "a0", [item(205, 91), item("150_14", 9, 9.5)]), "brands=['9']|['501', '502']"),
        (sample(1, "a0", [item(205, 91)], click=2), "click=2"),
        (sample(1, "a0", [item(205, 91)], click=""), "click="),
        (sample(1, "a0", [item(205, 91)], click=1, bought="1.0"), "conversion=1.0"),
        (sample("1e3", "a0", [item(205, 91)]), "sample_id=1e3"),
        (sample(2**64, "a0", [item(205, 91)]), f"sample_id={2**64}"),
        (sample("", "a0", [item(205, 91)]), "sample_id="),
    ],
)
def test_what_a_row_cannot_say_is_a_reason_at_that_row_and_no_other(folder: Path, broken: str, why: str) -> None:
    commons = [
        *COMMONS,
        common("twice", [item(101, 1)]),
        common("twice", [item(101, 1)]),
        common("short", [item(101, 1)], count=9),
        common("odd", ["101\x02\x031"]),
    ]
    rows = only_day(folder, [SAMPLES[1], broken, SAMPLES[3]], commons)
    assert [row["unparsed_columns"] for row in rows] == [[], [why], []]
    assert [row["source_row"] for row in rows] == [1, 2, 3]
    if "|" in why:
        # Of two values none is taken.
        assert rows[1][why.partition("=")[0]] is None


def test_a_field_may_be_said_by_both_sides_if_they_agree(folder: Path) -> None:
    [row] = only_day(folder, [sample(1, "a0", [item(101, 11), item(205, 91)])])
    assert (row["user"], row["unparsed_columns"]) == ("11", [])


def test_a_field_of_either_side_is_found_in_a_batch_that_mixes_them(folder: Path) -> None:
    weighted = [item(205, 92), item("150_14", 5, 2.5)]
    rows = only_day(folder, [SAMPLES[0], sample(2, "a1", weighted), sample(3, "a1", [item(205, 93)])])
    assert [row["brands"] for row in rows] == [["501", "502"], ["5"], None]
    assert [row["brands_weights"] for row in rows] == [[0.69315, 2.3979], [2.5], None]


def test_a_sample_without_features_and_one_without_a_user_lack_what_they_lack(folder: Path) -> None:
    commons = [common("nobody", [item(124, 2)]), common("nothing", [])]
    rows = only_day(folder, [sample(1, "nobody", []), sample(2, "nothing", [item(205, 1)])], commons)
    assert [(row["user_key"], row["item_key"], row["age"]) for row in rows] == [(None, None, "2"), (None, "1", None)]
    assert [row["unparsed_columns"] for row in rows] == [[], []]


def test_the_bootstrap_unit_may_be_the_common_feature_index_or_a_field(folder: Path) -> None:
    assert [row["unit_key"] for row in only_day(folder)] == ["11", "12", "11", "11"]
    by_index = only_day(folder, unit_key="common_feature_index")
    assert [row["unit_key"] for row in by_index] == ["a0", "b0", "a1", "a0"]
    assert [row["unit_key"] for row in only_day(folder, unit_key="205")] == ["91", "92", "91", "93"]


def test_a_field_may_be_called_like_a_column_of_the_reader(folder: Path) -> None:
    names = {"brand": "faults", "age": "pseudo_day", "affinity": "common_line", "intention": "declared"}
    names["brands"] = "line"
    fields = [field | {"name": names.get(str(field["name"]), field["name"])} for field in FIELDS]
    [plain] = land(make_spec(folder), 0, root=folder / "out")
    [renamed] = land(make_spec(folder, fields=fields), 0, root=folder / "out")
    for row, other in zip(plain, renamed, strict=True):
        assert {name: other[new] for name, new in names.items()} == {name: row[name] for name in names}
        assert other["line_weights"] == row["brands_weights"]
        assert other["unparsed_columns"] == []


def test_line_ends_of_windows_and_a_last_line_without_one_change_nothing(folder: Path) -> None:
    expected = only_day(folder)
    write_part(folder, SAMPLES, COMMONS, end="\r\n")
    assert land(make_spec(folder), 0, root=folder / "out") == [expected]
    for path in folder.glob("*_train.csv"):
        path.write_bytes(path.read_bytes().removesuffix(b"\r\n"))
    assert land(make_spec(folder), 0, root=folder / "out") == [expected]


def test_below_blank_lines_the_line_is_not_known_and_no_row_is_lost(folder: Path) -> None:
    rows = only_day(folder, [SAMPLES[0], "", SAMPLES[1]])
    assert [(row["impression_id"], row["source_line"]) for row in rows] == [("train-1", None), ("train-2", None)]


def test_gzipped_files_are_read_as_they_are(folder: Path) -> None:
    expected = land(make_spec(folder, days=2), 0, 1, 2, root=folder / "out")
    for path in folder.glob("*.csv"):
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    landed = land(make_spec(folder, days=2, suffix=".csv.gz"), 0, 1, 2, root=folder / "out")
    named = [[row | {"source_file": row["source_file"].removesuffix(".gz")} for row in day] for day in landed]
    assert named == expected
    assert [row["source_line"] for row in landed[0]] == [1, 2]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and row groups of a few rows."""
    for name, rows in {"_SAMPLE_BATCH": 10, "_COMMON_BATCH": 1, "_GROUP_ROWS": 16}.items():
        monkeypatch.setattr(f"ml.data.sources.ali_ccp.landing.{name}", rows)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("numbers", [range(1, 300), [n * 37 % 307 for n in range(307)]])
def test_a_day_alone_is_the_day_among_all_to_the_byte(folder: Path, numbers: Sequence[int]) -> None:
    write_part(folder, numbered(numbers), COMMONS)
    spec = make_spec(folder, days=4)
    together = land_days(spec, range(5), root=folder / "all")
    for place in (0, 2, 4):
        [alone] = land_days(spec, [place], root=folder / f"{place}")
        expected = together[place].tables["impressions"]
        assert alone.tables["impressions"].path.read_bytes() == expected.path.read_bytes()
        assert alone.tables["impressions"].files == expected.files
    assert [Path(file.path).name for file in together[0].tables["impressions"].files] == [
        "sample_skeleton_train.csv",
        "common_features_train.csv",
    ]


def test_many_batches_of_days_in_any_order_are_all_written(folder: Path, request: pytest.FixtureRequest) -> None:
    numbers = [n * 37 % 1009 for n in range(1009)]
    write_part(folder, [sample(n, ("a0", "b0", "a1")[n % 3], [item(205, n)]) for n in numbers], COMMONS)
    spec = make_spec(folder, days=3)
    expected = land(spec, 0, 1, 2, 3, root=folder / "out")
    request.getfixturevalue("small_batches")
    landed = land(spec, 0, 1, 2, 3, root=folder / "out")
    assert landed == expected
    assert sorted(row["source_row"] for day in landed[:3] for row in day) == list(range(1, 1010))
    assert {(int(row["item"]) % 3, row["user"], row["age"]) for day in landed[:3] for row in day} == {
        (0, "11", "1"),
        (1, "12", None),
        (2, "11", "2"),
    }


def test_scratch_is_left_empty(folder: Path) -> None:
    land(make_spec(folder), 0, 1, root=folder / "out")
    assert [path for path in (folder / "out" / "scratch").rglob("*") if path.is_file()] == []


def refusals(folder: Path, **more: Any) -> list[str | None]:
    """Why the train day and the test day are refused."""
    landed = land_days(make_spec(folder, **more), [0, 1], root=folder / "out")
    return [None if day.refused is None else str(day.refused) for day in landed]


def test_a_missing_file_refuses_its_own_days_alone(folder: Path) -> None:
    (folder / "common_features_train.csv").unlink()
    why, test_day = refusals(folder)
    assert why == f"no file at {folder}/common_features_train.csv; deliver the file, then materialize the day again"
    assert test_day is None


@pytest.mark.parametrize("name", ["sample_skeleton_train.csv", "common_features_train.csv"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", r"is empty \(0 bytes\); deliver it again"),
        (
            b"1,0,0,a0,1\n",
            r"not readable as csv: .*Line: 1 .*Expected Number of Columns: \d Found: \d; replace the file",
        ),
        (b"1;0;0\n", "not readable as csv: .*Expected Number of Columns"),
        (b"1,0,0,a0,1,205\x025\x031,7,8\n", "not readable as csv: .*Expected Number of Columns"),
        (b"a0,1,\xff\xfe\n" * 2, "not readable as csv"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_by_name(folder: Path, name: str, content: bytes, why: str) -> None:
    (folder / name).write_bytes(content)
    [refusal, test_day] = refusals(folder)
    assert refusal is not None
    assert test_day is None
    with pytest.raises(LandingRefused, match=f"{name}:? {why}"):
        raise LandingRefused(refusal)


def test_a_file_of_blank_lines_is_empty(folder: Path) -> None:
    (folder / "sample_skeleton_train.csv").write_bytes(b"\n\n")
    assert "sample_skeleton_train.csv is empty (nothing but blank lines)" in (refusals(folder)[0] or "")


def test_a_line_that_is_cut_in_the_middle_of_a_long_file_is_refused(folder: Path) -> None:
    lines = numbered(range(1, 30_000))
    write_part(folder, [*lines, "30000,0,0", *lines], COMMONS)
    assert "Line: 30000 Original Line: 30000,0,0" in (refusals(folder)[0] or "")


def test_invalid_bytes_far_down_are_refused_when_they_are_reached(folder: Path) -> None:
    write_part(folder, numbered(range(1, 30_000)), COMMONS)
    with (folder / "sample_skeleton_train.csv").open("ab") as stream:
        stream.write(b"30000,0,0,a0,1,205\x02\xff\xfe\x031.0\n")
    refusal = refusals(folder)[0] or ""
    assert "sample_skeleton_train.csv: not readable as csv: " in refusal
    assert "unicode" in refusal
    assert refusal.endswith("replace the file, then materialize the day again")


def test_a_truncated_gzip_is_refused(folder: Path) -> None:
    write_part(folder, numbered(range(1, 30_000)), COMMONS)
    for path in folder.glob("*.csv"):
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path = folder / "sample_skeleton_train.csv.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    why, test_day = refusals(folder, suffix=".csv.gz")
    assert why is not None
    assert f"{path}: not readable as csv: " in why
    assert test_day is None


def test_a_file_that_changes_while_it_is_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml.data.sources.ali_ccp import landing

    def parse_common(self: Any, *arguments: Any) -> None:
        with (folder / "sample_skeleton_train.csv").open("r+b") as stream:
            stream.truncate(len(SAMPLES[0]) + 1)
        original(self, *arguments)

    original = landing._PartLanding._parse_common
    monkeypatch.setattr(landing._PartLanding, "_parse_common", parse_common)
    with pytest.raises(LandingRefused, match=r"skeleton_train.csv changed while it was read; wait"):
        land(make_spec(folder), 0, root=folder / "out")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"column": "shop"}, "field 'brand' has column 'shop', which is no field number of Ali-CCP"),
        ({"column": "123456789"}, "field 'brand' has column '123456789', which is no field number"),
        ({"column": "205"}, "several fields have the column 205; correct the dataset spec"),
    ],
)
def test_a_column_that_is_no_field_number_refuses_every_day(folder: Path, change: dict[str, str], why: str) -> None:
    fields = [field | change if field["name"] == "brand" else field for field in FIELDS]
    assert [why in (refusal or "") for refusal in refusals(folder, fields=fields)] == [True, True]


def test_a_unit_that_no_field_holds_refuses_every_day(folder: Path) -> None:
    for refusal in refusals(folder, unit_key="207"):
        assert "unit_key '207' is neither common_feature_index nor the number of a field" in (refusal or "")
