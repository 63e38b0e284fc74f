"""The Columns tab shows what the file holds."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.schemas import column_schema


def test_columns_have_the_files_names_order_and_types(tmp_path: Path) -> None:
    table = pa.table({"price": pa.array([1.5]), "item": pa.array(["a"]), "seen": pa.array([["a", "b"]])})
    pq.write_table(table, tmp_path / "rows.parquet")
    shown = [(column.name, column.type) for column in column_schema(tmp_path / "rows.parquet").columns]
    assert [name for name, _ in shown] == ["price", "item", "seen"]
    assert shown[0][1] == "double"
    assert shown[1][1] == "string"
    assert shown[2][1].startswith("list<")
