"""A receipt as reviewers see it: the table of failed rules and a result for each family; plain records, no Dagster."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from data_checks.receipts import FAMILIES, Receipt, RuleResult

Record = dict[str, str | int | float]
#: The columns of a record, in the order in which a table shows them.
COLUMNS = (
    "rule",
    "bad rows",
    "share",
    "threshold",
    "observed",
    "trailing median",
    "sample row 1",
    "sample row 2",
    "sample row 3",
    "quarantine",
)
NOT_APPLICABLE = "–"
#: Columns that say where a row came from; they are shown as one.
WHERE = ("source_file", "source_line", "source_row")
#: Marks a cell that breaks the rule, for readers who cannot see its colour too.
OFFENDING = "✗"
#: How a cell without value is written in a sample row.
_NULL = "NULL"


class FamilyResult(BaseModel):
    """One check of the UI: whether the family's rules let the day pass, and what they found all the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    passed: bool
    bad_rows: int
    why: str
    records: tuple[Record, ...]


def failed_rules(receipt: Receipt, *, quarantine: str) -> tuple[Record, ...]:
    """A record for each rule that found anything, most bad rows first; `quarantine` is where the day's bad rows lie."""
    return _records(receipt.rules, quarantine=quarantine)


def family_results(receipt: Receipt, *, quarantine: str) -> tuple[FamilyResult, ...]:
    """One result a family, in the order of FAMILIES.

    A family fails when a rule of it refuses the day, or when the day is refused for its bad share and the family is to
    blame: one of its rules alone passes the bound or, where no rule does, it has bad rows. Bad rows within the bound
    are quarantined and shown, and do not turn a check red.
    """
    return tuple(_family(receipt, family, quarantine=quarantine) for family in FAMILIES)


def rules_to_blame(receipt: Receipt) -> frozenset[str]:
    """Ids of the rules for which the day is refused; empty for a day that is not."""
    refusing = {result.rule for result in receipt.rules if result.failed and result.effect == "refuse"}
    return frozenset(refusing | _over_the_bound(receipt))


def failed_by_weight(receipt: Receipt) -> list[RuleResult]:
    """The rules that found anything: those to blame for a refusal first, then warnings, then by bad rows."""
    blamed = rules_to_blame(receipt)
    failed = (result for result in receipt.rules if result.failed)
    return sorted(failed, key=lambda r: (r.rule not in blamed, r.effect != "warn", -r.rows, r.rule))


def sample_rows(receipt: Receipt) -> tuple[Record, ...]:
    """The sample rows of every failed rule on rows: the rule, the offending cells, and where the row came from."""
    found = (result for result in receipt.rules if result.failed and result.effect == "quarantine")
    return tuple(
        {
            "rule": result.rule,
            "offending cells": ", ".join(f"{name}={sample.get(name, '')}" for name in result.offending),
            "file and line": where(sample),
            "row": _row(sample),
        }
        for result in sorted(found, key=lambda r: (-r.rows, r.rule))
        for sample in result.samples
    )


def where(sample: Mapping[str, str]) -> str:
    """The file of a sample row, and its line or, where the file has no lines, its row; empty where it names none."""
    if "source_file" not in sample:
        return ""
    line, row = (sample.get(name, _NULL) for name in WHERE[1:])
    if line != _NULL:
        return f"{sample['source_file']}, line {line}"
    return sample["source_file"] if row == _NULL else f"{sample['source_file']}, row {row}"


def _row(sample: Mapping[str, str], offending: Sequence[str] = ()) -> str:
    """A sample row in one line, offending cells marked."""
    return ", ".join(
        f"{OFFENDING} {name}={cell}" if name in offending else f"{name}={cell}"
        for name, cell in sample.items()
        if name not in WHERE
    )


def _family(receipt: Receipt, family: str, *, quarantine: str) -> FamilyResult:
    results = [result for result in receipt.rules if result.family == family]
    failed = [result for result in results if result.failed]
    blamed = rules_to_blame(receipt)
    to_blame = [result for result in failed if result.rule in blamed]
    unjudged = [f"{result.rule} not judged: {result.why}" for result in results if result.why]
    if to_blame:
        why = "; ".join(f"{result.rule}: {_finding(result)}" for result in to_blame)
    elif failed:
        kept = sum(result.rows for result in failed if result.effect == "quarantine")
        found = [f"{kept} findings within the bound; the rows are in quarantine"] if kept else []
        found += [f"warned of {result.rule}: {_finding(result)}" for result in failed if result.effect == "warn"]
        why = "; ".join(found)
    else:
        why = "; ".join(["nothing found", *unjudged])
    return FamilyResult(
        family=family,
        passed=not to_blame,
        bad_rows=sum(result.rows for result in failed if result.effect != "warn"),
        why=why,
        records=_records(results, quarantine=quarantine),
    )


def _over_the_bound(receipt: Receipt) -> set[str]:
    if receipt.bad_share <= receipt.max_bad_share:
        return set()
    broken = [result for result in receipt.rules if result.effect == "quarantine" and result.failed]
    alone = {result.rule for result in broken if result.share > receipt.max_bad_share}
    return alone or {result.rule for result in broken}


def _finding(result: RuleResult) -> str:
    if result.observed is None:
        return f"{result.rows} bad rows ({result.share:.2%})"
    return f"{result.observed:.4g} against a bound of {result.threshold:g}"


def _records(results: Sequence[RuleResult], *, quarantine: str) -> tuple[Record, ...]:
    failed = sorted((result for result in results if result.failed), key=lambda r: (-r.rows, r.rule))
    return tuple(_record(result, quarantine=quarantine) for result in failed)


def _record(result: RuleResult, *, quarantine: str) -> Record:
    rows = [
        _row(sample, result.offending) + (f" ({place})" if (place := where(sample)) else "")
        for sample in result.samples[:3]
    ]
    rows += [NOT_APPLICABLE] * (3 - len(rows))
    numbers = (result.threshold, result.observed, result.trailing_median)
    values = (
        result.rule,
        result.rows,
        result.share,
        *(NOT_APPLICABLE if number is None else number for number in numbers),
        *rows,
        quarantine,
    )
    return dict(zip(COLUMNS, values, strict=True))
