"""What is no verdict must never look like one: rules that disagree, expectations that raise, a killed worker."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from great_expectations.expectations.core.expect_column_mean_to_be_between import ExpectColumnMeanToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_unique import ExpectColumnValuesToBeUnique
from great_expectations.expectations.expectation import Expectation

from data_checks.catalog import RULES
from data_checks.expectations import between
from data_checks.receipts import Receipt
from data_checks.rules import Rule, RuleContext, always
from data_checks.suites import RuleDisagreement, SuiteCrashed

_REPEATED = "duplicates.impression_repeated"
_QUANTITY = "copies_before"


def _with(rule_id: str, **changes: object) -> tuple[Rule, ...]:
    return tuple(replace(rule, **changes) if rule.id == rule_id else rule for rule in RULES)


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"samples.parquet"}


@pytest.mark.parametrize(
    ("mask", "marked"),
    [
        ("FALSE", 0),
        ("duplicate_rank >= 1 AND row_kind = 'impression'", 3),
        ("duplicate_rank = 2 AND source_row = 9", 0),
    ],
)
def test_a_mask_that_lies_stops_the_day(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path, mask: str, marked: int
) -> None:
    rows = [build.row(1), build.row(2), build.row(1, duplicate_rank=2)]
    expected = rf"duplicates\.impression_repeated: the SQL mask marks {marked} rows, the expectation finds 1"
    with pytest.raises(RuleDisagreement, match=expected):
        judge(rows, rules=_with(_REPEATED, mask_sql=always(mask)))
    assert not _files(tmp_path)


@pytest.mark.parametrize(
    ("expectation", "unexpected"),
    [
        (between(_QUANTITY, high=1), 0),
        (between(_QUANTITY, low=1), 3),
        # It looks at more than one value at a time, so that counting rows by value does not do for it.
        (lambda context: ExpectColumnValuesToBeUnique(column=_QUANTITY), 0),
    ],
)
def test_an_expectation_that_lies_stops_the_day(
    build: SimpleNamespace,
    judge: Callable[..., Receipt],
    tmp_path: Path,
    expectation: Callable[[RuleContext], Expectation],
    unexpected: int,
) -> None:
    rows = [build.row(1), build.row(2), build.row(3), build.row(1, duplicate_rank=2)]
    expected = rf"duplicates\.impression_repeated: the SQL mask marks 1 rows, the expectation finds {unexpected}"
    with pytest.raises(RuleDisagreement, match=expected):
        judge(rows, rules=_with(_REPEATED, expectation=expectation))
    assert not _files(tmp_path)


@pytest.mark.parametrize("rule_id", [_REPEATED, "volume.empty_day"])
def test_an_expectation_that_raises_is_no_verdict(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path, rule_id: str
) -> None:
    with pytest.raises(SuiteCrashed, match=rf"{rule_id}: Great Expectations raised .*no_such_column"):
        judge([build.row(1)], rules=_with(rule_id, expectation=between("no_such_column", low=0)))
    assert not _files(tmp_path)


def test_an_expectation_that_counts_no_rows_is_no_verdict(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    def mean(context: RuleContext) -> Expectation:
        return ExpectColumnMeanToBeBetween(column=_QUANTITY, min_value=0, max_value=0)

    with pytest.raises(SuiteCrashed, match=rf"{_REPEATED}: Great Expectations gave no count"):
        judge([build.row(1)], rules=_with(_REPEATED, expectation=mean))
    assert not _files(tmp_path)


def test_files_of_an_earlier_verdict_outlive_a_crash(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    judge([build.row(1)])
    before = {name: (tmp_path / name).read_bytes() for name in _files(tmp_path)}
    assert before
    with pytest.raises(SuiteCrashed):
        judge([build.row(2)], rules=_with("volume.empty_day", expectation=between("no_such_column", low=0)))
    assert {name: (tmp_path / name).read_bytes() for name in _files(tmp_path)} == before


_KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from data_checks.day_sample import DaySample
from data_checks.validation import validate_day
from ml.data.dataset import DatasetSpec

folder = Path(sys.argv[1])
# After the first admitted rows have been written.
DaySample.add = lambda self, admitted: os.kill(os.getpid(), signal.SIGKILL)
validate_day(
    samples=folder / "samples.parquet", spec=DatasetSpec.model_validate_json(sys.argv[2]), day=date(2026, 3, 2),
    input_version="v2", history=(), label_horizon=None, events=None,
    admitted_to=folder / "admitted.parquet", quarantined_to=folder / "quarantine.parquet",
)
"""


def test_a_killed_worker_leaves_the_files_of_the_verdict_before(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    spec = build.spec()
    judge([build.row(1)], spec=spec)
    before = {name: (tmp_path / name).read_bytes() for name in ("admitted.parquet", "quarantine.parquet")}
    build.write(tmp_path / "samples.parquet", [build.row(2), build.row(3, click=7)])
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), spec.model_dump_json()], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert any(name.endswith(".writing") for name in _files(tmp_path))
