"""What the expectations judge: each quantity's values and how many rows hold them, in bounded parts; no verdict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from data_checks.marks import statement
from data_checks.rules import Rule, RuleContext, parameters_used
from ml.data.engine import literal

#: Values that Great Expectations sees at once; fewer pay its fixed cost more often.
_VALUES_A_PART = 512_000
#: Of DuckDB's vectors, each of at most 2048 rows, that are fetched at once.
_VECTORS = 50
#: Tables of at most so many values share a part, whose shorter columns are filled up with NaN.
_SHORT = 4096


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some values of some quantities.

    `values` has a float64 column a quantity, NaN where a row has nothing to judge or a shorter column has ended;
    `rows[name][place]` (int64) rows of the table hold the value of column `name` at `place`.
    """

    values: pd.DataFrame
    rows: Mapping[str, np.ndarray]


def row_quantities(
    connection: duckdb.DuckDBPyConnection, *, samples: Path, rules: Sequence[Rule], context: RuleContext
) -> Iterator[Part]:
    """What the rules on rows judge; every quantity is in one part at least.

    Most quantities hold a handful of values in millions of rows, so that every distinct value comes once, with its
    rows; those of continuous quantities, which hardly repeat, come as they are, a row each.
    """
    source = f"read_parquet({literal(str(samples))})"
    yield from _quantities(connection, source=source, rules=rules, context=context)


def day_quantities(
    connection: duckdb.DuckDBPyConnection, *, rules: Sequence[Rule], context: RuleContext
) -> Iterator[Part]:
    """What the rules on the day judge: the quantities of one row, which is the day."""
    yield from _quantities(connection, source="(SELECT 1)", rules=rules, context=context)


def _quantities(
    connection: duckdb.DuckDBPyConnection, *, source: str, rules: Sequence[Rule], context: RuleContext
) -> Iterator[Part]:
    short: dict[str, pd.DataFrame] = {}
    for quantity in {rule.quantity.name: rule.quantity for rule in rules}.values():
        # A statement a quantity: together in one they are no cheaper, because their columns lose their dictionaries.
        sql = statement(
            "quantity_rows" if quantity.continuous else "quantity_values",
            quantity=f"({quantity.sql(context.spec)})::DOUBLE",
            source=source,
        )
        for counted in _tables(connection, sql, context):
            if len(counted) <= _SHORT:
                short[quantity.name] = counted
            else:
                yield _part({quantity.name: counted})
    if short:
        yield _part(short)


def _part(counted: Mapping[str, pd.DataFrame]) -> Part:
    length = max(len(frame) for frame in counted.values())
    values = {name: _filled(frame["value"], length, np.nan) for name, frame in counted.items()}
    rows = {name: _filled(frame["rows"], length, 0).astype(np.int64) for name, frame in counted.items()}
    return Part(values=pd.DataFrame(values, dtype=np.float64), rows=rows)


def _filled(column: pd.Series, length: int, filling: float) -> np.ndarray:
    return np.pad(column.to_numpy(), (0, length - len(column)), constant_values=filling)


def _tables(connection: duckdb.DuckDBPyConnection, sql: str, context: RuleContext) -> Iterator[pd.DataFrame]:
    """The rows of a statement in tables of bounded length, all but the last of them long; at least one."""
    connection.execute(sql, parameters_used(sql, context.parameters))
    gathered = [connection.fetch_df_chunk(_VECTORS)]
    while len(gathered[-1]):
        # After a filter a vector may hold few rows.
        frame = connection.fetch_df_chunk(_VECTORS)
        if sum(map(len, gathered)) + len(frame) > _VALUES_A_PART:
            yield pd.concat(gathered, ignore_index=True)
            gathered = []
        gathered.append(frame)
    yield pd.concat(gathered, ignore_index=True)
