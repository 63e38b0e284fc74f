"""The columns of a stored table as Dagster metadata, read from the file's footer; it describes, and checks nothing."""

from pathlib import Path

import dagster as dg


def column_schema(path: Path) -> dg.TableSchema:
    """Names and types of the columns of a Parquet file, for the asset's Columns tab."""
    # pyarrow is loaded by the run, never by the code location.
    from pyarrow.parquet import read_schema

    return dg.TableSchema(columns=[dg.TableColumn(field.name, str(field.type)) for field in read_schema(path)])
