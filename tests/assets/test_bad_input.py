"""Bad CSV and JSON from raw to validated: a clear refusal, quarantine, or simply right; the other days go on."""

import gzip
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from tests.assets.bad_input_log import (
    COLUMNS,
    FIRST,
    TABLE,
    TIMEZONE,
    Case,
    JudgedDay,
    Rows,
    changed,
    csv_text,
    days_of,
    good_days,
    hold_case,
    hold_good,
    judge,
    write_log,
)

PACKED = "log.csv.gz"


def write(folder: Path, data: str | bytes, name: str = "log.csv") -> None:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def edited(edit: Callable[[str], str | bytes], name: str = "log.csv") -> Callable[[Path, Rows], None]:
    """A day's file as the good one after `edit`."""
    return lambda folder, rows: write(folder, edit(csv_text(rows)), name)


def with_rows(*changes: tuple[Sequence[int], dict[str, Any]]) -> Callable[[Path, Rows], None]:
    """A day's file with other values in the rows at some places."""

    def write_changed(folder: Path, rows: Rows) -> None:
        for places, values in changes:
            rows = changed(rows, *places, **values)
        write(folder, csv_text(rows))

    return write_changed


def every_row(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path, Rows], None]:
    return lambda folder, rows: write(folder, csv_text([row | change(row) for row in rows]))


def with_note(note: str) -> Callable[[Path, Rows], None]:
    """A day's file with a column that no field reads; the eighth row holds the note."""
    columns = [*COLUMNS[:4], "note", *COLUMNS[4:]]

    def write_noted(folder: Path, rows: Rows) -> None:
        write(folder, csv_text(changed([row | {"note": "x"} for row in rows], 7, note=note), columns=columns))

    return write_noted


def two_files(folder: Path, rows: Rows, *, lacking: str | None) -> None:
    columns = [name for name in COLUMNS if name != lacking]
    write(folder, csv_text(rows[:30]), "a.csv")
    write(folder, csv_text(rows[30:], columns=columns), "b.csv")


def ten_thousand_columns(folder: Path, rows: Rows) -> None:
    lines = csv_text(rows).splitlines()
    more = [",".join(f"c{number}" for number in range(10_000))] + [",".join("x" * 10_000)] * len(rows)
    write(folder, "\n".join(f"{line},{extra}" for line, extra in zip(lines, more, strict=True)) + "\n")


def in_epoch(row: dict[str, Any], *, unit: int) -> dict[str, Any]:
    local = datetime.fromisoformat(row["at"]).replace(tzinfo=ZoneInfo(TIMEZONE))
    return {"at": str(int(local.timestamp()) * unit)}


def lines(rows: Rows) -> list[int]:
    return [row["source_line"] for row in rows]


#: Rows of one day by what is wrong with them.
ODD: tuple[tuple[Sequence[int], dict[str, Any]], ...] = (
    ((0, 1), {"at": "1774000000000"}),
    ((2, 3), {"at": "2031-01-01 10:00:00"}),
    ((4, 5), {"at": "1970-01-21 10:00:00"}),
    ((6, 7), {"at": "294247-01-10 00:00:00"}),
    ((8, 9, 10), {"user_id": None}),
    ((11, 12), {"clicked": 1, "bought": 1, "paid": "-5"}),
    ((13, 14), {"clicked": 1, "bought": 1, "paid": "1e999"}),
    ((15, 16), {"price": "-1e999"}),
    ((17, 18), {"price": "12,50 EUR"}),
    ((19, 20), {"clicked": "perhaps"}),
    ((21, 22), {"category": "x" * 1_000_000}),
)
ODD_RULES = {
    "schema.impression_time_missing": 4,
    "schema.impression_time_outside_day": 4,
    "schema.user_key_missing": 3,
    "schema.value_out_of_range": 4,
    "schema.number_not_finite": 2,
    "schema.value_unreadable": 8,
    "schema.text_malformed": 2,
}
#: Rows of one day that look wrong and are not.
STRANGE: tuple[tuple[Sequence[int], dict[str, Any]], ...] = (
    ((3,), {"price": "-1.7e308"}),
    ((7,), {"user_id": "👩‍👩‍👧 é"}),
    ((8,), {"user_id": 2**80}),
    ((9,), {"city": 'say "no", twice'}),
    ((10, 12), {"clicked": "True", "bought": "false", "paid": None}),
    ((11, 13), {"clicked": "FALSE", "bought": "0.0", "paid": None}),
)


def strange_but_right(rows: Rows) -> bool:
    return (
        rows[3]["price"] == -1.7e308
        and (rows[7]["user_id"], rows[8]["user_id"]) == ("👩‍👩‍👧 é", str(2**80))
        and rows[9]["city"] == 'say "no", twice'
        and [row["click"] for row in rows[10:14]] == [1, 0, 1, 0]
        and [row["conversion"] for row in rows[10:14]] == [0, 0, 0, 0]
    )


GOOD = Case("good", edited(str))
TEXT_CASES = (
    # Refused: nothing of the day is landed.
    Case("truncated gzip", edited(lambda text: gzip.compress(text.encode())[:-20], PACKED), "Truncated compressed"),
    Case("wrong delimiter", edited(lambda text: text.replace(",", ";")), "no column 'at'.*is its delimiter ','\\?"),
    Case("NUL bytes", edited(lambda text: text.encode() + b"\0" * 512), "NUL bytes, the first in line 62"),
    Case("UTF-16", edited(lambda text: text.encode("utf-16")), "NUL bytes.*not UTF-8"),
    Case("invalid UTF-8", edited(lambda text: text.encode().replace(b",u1,", b",u\xe9,")), "(?i)not utf-8"),
    Case("empty file", edited(lambda text: ""), r"is empty \(0 bytes\)"),
    Case("empty gzip", edited(lambda text: gzip.compress(b""), PACKED), "is empty"),
    Case("missing file", lambda folder, rows: write(folder, "", "README"), "no file at .*csv.*deliver the file"),
    Case("missing day", lambda folder, rows: folder.rmdir(), "no file at .*csv.*deliver the file"),
    Case("a folder without files", lambda folder, rows: (folder / "log.csv").mkdir(), "a folder without files at"),
    Case("a line that was cut", edited(lambda text: text[:-12]), "(?i)columns"),
    Case("a line of 3 MB", with_note("x" * 3_000_000), "not readable as csv: .*(?i:maximum line size)"),
    Case("a column twice", edited(lambda text: text.replace("position", "city", 1)), "names columns twice: city"),
    Case("a missing column", edited(lambda text: text.replace("price", "cost", 1)), "no column 'price'"),
    Case("a column in one file only", partial(two_files, lacking="price"), r"/b\.csv: no column 'price', which other"),
    Case("milliseconds for ISO", every_row(partial(in_epoch, unit=1000)), "as epoch_milliseconds, 60 do"),
    Case("seconds for ISO", every_row(partial(in_epoch, unit=1)), "Set time_format: epoch_seconds in the dataset"),
    # Quarantined: the rows are landed and lie where a reviewer finds them.
    Case("odd rows", with_rows(*ODD), bad=23, rules=ODD_RULES),
    # Right.
    Case("strange but right", with_rows(*STRANGE), holds=strange_but_right),
    Case("a header alone", edited(lambda text: text.splitlines()[0] + "\n"), rows=0),
    Case("BOM", edited(lambda text: "\ufeff" + text), holds=lambda rows: rows[0]["impression_id"].endswith("-0")),
    Case("CRLF", edited(lambda text: text.replace("\n", "\r\n")), holds=lambda rows: lines(rows)[9:11] == [11, 12]),
    Case("a line of 1 MB", with_note("x" * 1_000_000), holds=lambda rows: lines(rows)[7:9] == [9, 10]),
    Case("line ends in quotes", with_note("a\n\nb"), holds=lambda rows: lines(rows)[7:9] == [9, 12]),
    Case("10,000 columns", ten_thousand_columns),
    Case("several files", partial(two_files, lacking=None), holds=lambda rows: lines(rows)[29:31] == [31, 2]),
)


def json_text(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def json_rows(*changes: tuple[Sequence[int], dict[str, Any]]) -> Callable[[Path, Rows], None]:
    def write_changed(folder: Path, rows: Rows) -> None:
        for places, values in changes:
            rows = changed(rows, *places, **values)
        write(folder, json_text(rows), "log.json")

    return write_changed


def json_edited(edit: Callable[[str], str | bytes]) -> Callable[[Path, Rows], None]:
    return lambda folder, rows: write(folder, edit(json_text(rows)), "log.json")


JSON_CASES = (
    Case("a line that was cut", json_edited(lambda text: text[:-9]), "not readable as jsonlines"),
    Case("one key twice", json_edited(lambda text: text.replace('"city"', '"id"', 1)), "duplicate key"),
    Case("invalid UTF-8", json_edited(lambda text: text.encode().replace(b'"u1"', b'"u\xff"')), "invalid UTF-8"),
    Case("a key that no row has", json_edited(lambda text: text.replace('"price"', '"cost"')), "no column 'price'"),
    Case(
        "odd rows",
        json_rows(((3,), {"user_id": {"id": 1}}), ((9,), {"price": [1]}), ((12,), {"user_id": "u\0"})),
        bad=3,
        rules={"schema.value_unreadable": 2, "schema.text_malformed": 1},
    ),
    Case(
        "strange but right",
        json_rows(((8,), {"user_id": 2**80}), ((10, 12), {"clicked": True, "bought": False, "paid": None})),
        holds=lambda rows: (rows[8]["user_id"], rows[10]["click"], rows[12]["conversion"]) == (str(2**80), 1, 0),
    ),
    Case("keys that rows leave out", json_edited(lambda text: text.replace(', "paid": null', ""))),
)


@pytest.fixture(scope="module")
def run_log(
    tmp_path_factory: pytest.TempPathFactory,
    make_platform: Callable[..., Any],
    make_spec: Callable[..., Any],
    run_data: Callable[..., Any],
) -> Callable[..., dict[date, JudgedDay]]:
    """run_log(cases, good, **table) → what became of each day of the log that they write."""

    def run(cases: tuple[Case, ...], good: Case, **table: Any) -> dict[date, JudgedDay]:
        folder = tmp_path_factory.mktemp("bad_input")
        write_log(folder / "feed", cases, good=good)
        spec = make_spec(
            timezone=TIMEZONE,
            days={"first": FIRST, "last": good_days(cases)[-1]},
            source={"kind": "wide_log", "table": {**TABLE, **table, "path": f"{folder}/feed/{{day}}/{table['path']}"}},
            attribution={"conversion_window_days": 0},
        )
        with dg.DagsterInstance.ephemeral() as instance:
            return judge(make_platform(folder), instance, spec, run_data)

    return run


@pytest.fixture(scope="module")
def text_log(run_log: Callable[..., Any]) -> dict[date, JudgedDay]:
    return run_log(TEXT_CASES, GOOD, format="csv", path="*.csv*")


@pytest.fixture(scope="module")
def json_log(run_log: Callable[..., Any]) -> dict[date, JudgedDay]:
    good = Case("good", json_edited(str))
    return run_log(JSON_CASES, good, format="jsonlines", path="*.json")


@pytest.mark.parametrize("case", TEXT_CASES, ids=lambda case: case.name)
def test_a_bad_csv_day_is_refused_or_quarantined_or_right(case: Case, text_log: dict[date, JudgedDay]) -> None:
    hold_case(case, text_log[days_of(TEXT_CASES)[case.name]])


@pytest.mark.parametrize("case", JSON_CASES, ids=lambda case: case.name)
def test_a_bad_json_day_is_refused_or_quarantined_or_right(case: Case, json_log: dict[date, JudgedDay]) -> None:
    hold_case(case, json_log[days_of(JSON_CASES)[case.name]])


def test_the_days_between_go_on(text_log: dict[date, JudgedDay], json_log: dict[date, JudgedDay]) -> None:
    for cases, log in ((TEXT_CASES, text_log), (JSON_CASES, json_log)):
        assert len(log) == len(cases) + len(good_days(cases))
        for day in good_days(cases):
            hold_good(log[day])
