"""An engine's error in words: the file at fault, a short reason, a remedy; the machine's own troubles refuse none."""

from pathlib import Path

import duckdb
import pytest

from ml.data.source_spec import TableSpec
from ml.data.sources.faults import name_files, unreadable

CSV = TableSpec(path="-", format="csv", time="t", delimiter=";")
FILES = [Path(f"/feed/{number}.csv") for number in range(5)]


def test_only_the_file_at_fault_is_named_and_the_engines_advice_is_left_out() -> None:
    error = duckdb.InvalidInputException(
        "Invalid Input Error: CSV Error on Line: 7\nOriginal Line: "
        + "x" * 2_000_000
        + "\nExpected Number of Columns: 3"
        "\nPossible Solution: set null_padding\n\n  file = /feed/3.csv\n"
    )
    text = str(unreadable(error, table=CSV, files=FILES))
    assert text.startswith(
        "/feed/3.csv: not readable as csv: Invalid Input Error: CSV Error on Line: 7 Original Line: x"
    )
    assert text.endswith("... Expected Number of Columns: 3; replace the file, then materialize the day again")
    assert len(text) < 600


def test_an_error_that_names_no_file_is_laid_to_all_of_them() -> None:
    text = str(unreadable(duckdb.ConversionException("Conversion Error: no"), table=CSV, files=FILES))
    assert text.startswith("/feed/0.csv, /feed/1.csv, /feed/2.csv and 2 more: not readable")
    assert name_files(FILES[:2]) == "/feed/0.csv, /feed/1.csv"


def test_what_the_sniffer_cannot_tell_is_said_in_our_words() -> None:
    error = duckdb.InvalidInputException('Error when sniffing file "/feed/1.csv".\nThe search space used was:\n...')
    text = str(unreadable(error, table=CSV, files=FILES))
    assert text.startswith("/feed/1.csv: not readable as csv: its lines are not all columns separated by ';'")


@pytest.mark.parametrize(
    "error",
    [
        duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block, /feed/1.csv"),
        duckdb.ResourceInUseException("Resource In Use Error: connection has a pending result"),
        duckdb.IOException('IO Error: Could not write file "/scratch/duckdb_temp_storage": No space left on device'),
    ],
)
def test_want_of_memory_or_disk_is_no_fault_of_a_day(error: duckdb.Error) -> None:
    with pytest.raises(type(error)):
        unreadable(error, table=CSV, files=FILES)
