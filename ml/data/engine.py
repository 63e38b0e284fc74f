"""The DuckDB connection that all row work runs in, its SQL files and how it writes; no query of its own."""

from importlib import resources
from pathlib import Path

import duckdb

#: DuckDB spills to disk above this; a day of 10 million impressions must fit beside Dagster on a small machine.
DEFAULT_MEMORY_LIMIT = "4GB"


def connect(*, scratch: Path, threads: int = 2, memory_limit: str = DEFAULT_MEMORY_LIMIT) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that spills into `scratch` and reads times as UTC.

    Insertion order is preserved, so that the same input gives the same file on every run.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = true")
    # DuckDB 2.0 trusts a Parquet column's statistics, and other writers leave NaN out of them: isnan(x) became FALSE.
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute(f"SET temp_directory = {literal(str(scratch))}")
    connection.execute(f"SET memory_limit = {literal(memory_limit)}")
    connection.execute(f"SET threads = {int(threads)}")
    return connection


def statement(name: str, **parts: str) -> str:
    """The text of `ml/data/sql/<name>.sql` with its `{part}` places filled; KeyError for a place left empty."""
    text = (resources.files("ml.data") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return text.format(**parts)


def write_parquet(connection: duckdb.DuckDBPyConnection, query: str, out: Path) -> int:
    """Write the rows of `query`, in their order, to the Parquet file `out`; returns their number."""
    out.parent.mkdir(parents=True, exist_ok=True)
    # Level 1: as small as the default level 3 on logs, for less of the time.
    row = connection.execute(
        f"COPY ({query}) TO {literal(str(out))} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    ).fetchone()
    assert row is not None
    return int(row[0])


def literal(value: str) -> str:
    """`value` as an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def parquet(paths: list[Path]) -> str:
    """A table expression that reads `paths` in their order; rows keep their order within each file."""
    listed = ", ".join(literal(str(path)) for path in paths)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
