"""A receipt as reviewers see it: the table of failed rules and a result for each family; plain records, no Dagster."""

from collections.abc import Sequence

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


def _family(receipt: Receipt, family: str, *, quarantine: str) -> FamilyResult:
    results = [result for result in receipt.rules if result.family == family]
    failed = [result for result in results if result.failed]
    to_blame = [result for result in failed if result.effect == "refuse" or result.rule in _over_the_bound(receipt)]
    unjudged = [f"{result.rule} not judged: {result.why}" for result in results if result.why]
    if to_blame:
        why = "; ".join(f"{result.rule}: {_finding(result)}" for result in to_blame)
    elif failed:
        why = f"{sum(result.rows for result in failed)} findings within the bound; the rows are in quarantine"
    else:
        why = "; ".join(["nothing found", *unjudged])
    return FamilyResult(
        family=family,
        passed=not to_blame,
        bad_rows=sum(result.rows for result in failed),
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
    rows = [", ".join(f"{name}={cell}" for name, cell in sample.items()) for sample in result.samples]
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
