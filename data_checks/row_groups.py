"""Parquet files read and written a row group at a time, their dictionaries left as they are; no row is judged here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

#: A dictionary that the input holds in one page is kept, whatever its size.
_LARGEST_DICTIONARY = 1 << 30
#: Longer than any page header without statistics, which dictionary pages have none of.
_HEADER_BYTES = 64
_BOOLEANS, _INTEGERS, _STRUCT = (1, 2), (4, 5, 6), 12
_DICTIONARY_HEADER = 7


@dataclass(frozen=True, kw_only=True)
class Columns:
    """How the columns of a Parquet file are encoded: paths of leaf columns that have a dictionary in every row group.

    `texts` are those of them that hold text.
    """

    dictionaries: tuple[str, ...]
    texts: tuple[str, ...]


def columns_of(path: Path) -> Columns:
    """The encodings of the file's columns, from its footer."""
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    encoded, texts = [], []
    for place in range(metadata.num_columns if groups else 0):
        chunks = [group.column(place) for group in groups]
        if all({"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(chunk.encodings) for chunk in chunks):
            encoded.append(chunks[0].path_in_schema)
            if chunks[0].physical_type == "BYTE_ARRAY":
                texts.append(chunks[0].path_in_schema)
    return Columns(dictionaries=tuple(encoded), texts=tuple(texts))


def read_row_groups(path: Path, columns: Columns) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema of the tables and the tables, one a row group; texts with a dictionary are Arrow dictionaries.

    Copying indices instead of texts halves the cost of a copy: no text is hashed again on its way out.
    """
    with pq.ParquetFile(path, read_dictionary=list(columns.texts)) as file:
        schema = file.schema_arrow.remove_metadata()

    def tables() -> Iterator[pa.Table]:
        with (
            pq.ParquetFile(path, read_dictionary=list(columns.texts)) as encoded,
            pq.ParquetFile(path) as plain,
            path.open("rb") as raw,
        ):
            for number in range(encoded.num_row_groups):
                table = encoded.read_row_group(number, use_threads=False)
                for name in _misread(table, encoded.metadata.row_group(number), raw, columns):
                    texts = plain.read_row_group(number, columns=[name], use_threads=False)[name]
                    place = table.schema.get_field_index(name)
                    table = table.set_column(place, schema.field(name), texts.cast(schema.field(name).type))
                yield table

    return schema, tables()


def open_writer(path: Path, *, schema: pa.Schema, columns: Columns) -> pq.ParquetWriter:
    """A writer of tables of `schema` (dictionaries are written as the texts they stand for), one row group a table."""
    whole = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        # Level 3 costs a third more and saves one hundredth.
        compression_level=1,
        use_dictionary=list(columns.dictionaries),  # pyright: ignore[reportArgumentType]
        dictionary_pagesize_limit=_LARGEST_DICTIONARY,
        column_encoding={name: "DELTA_BINARY_PACKED" for name in whole if name not in columns.dictionaries},
        # Of texts they would be computed value by value, and of floats they would hide NaN from DuckDB.
        write_statistics=whole,  # pyright: ignore[reportArgumentType]
        # Readers see texts, not the dictionaries that they were copied as.
        store_schema=False,
    )


def _misread(table: pa.Table, group: pq.RowGroupMetaData, raw: BinaryIO, columns: Columns) -> list[str]:
    """Names of the columns whose Arrow dictionary is not the dictionary page, entry by entry.

    pyarrow 26 makes one entry of equal entries of a page and leaves the indices as they were, which then stand for
    other texts; DuckDB writes such pages, with an empty text for each value that no row has.
    """
    found = []
    for place in range(group.num_columns):
        chunk = group.column(place)
        if chunk.path_in_schema in columns.texts:
            name = chunk.path_in_schema.partition(".")[0]
            entries = _page_entries(raw, chunk.dictionary_page_offset)
            if entries is None or any(len(_texts(part).dictionary) != entries for part in table[name].chunks):
                found.append(name)
    return found


def _texts(array: pa.Array) -> pa.DictionaryArray:
    return array if pa.types.is_dictionary(array.type) else array.values


def _page_entries(raw: BinaryIO, offset: int | None) -> int | None:
    """Entries of the dictionary page at `offset`, from its header (Thrift's compact protocol); None if not found."""
    if offset is None:
        return None
    raw.seek(offset)
    header = raw.read(_HEADER_BYTES)
    place = field = 0
    in_dictionary_header = False
    while place < len(header):
        step, kind = header[place] >> 4, header[place] & 15
        field, place = field + step, place + 1
        if not step or kind not in (*_BOOLEANS, *_INTEGERS, _STRUCT):
            return None
        if kind == _STRUCT:
            if field != _DICTIONARY_HEADER:
                return None
            in_dictionary_header, field = True, 0
        elif kind in _INTEGERS:
            value, place = _zigzag(header, place)
            if in_dictionary_header:
                return value if field == 1 else None
    return None


def _zigzag(header: bytes, place: int) -> tuple[int, int]:
    """The integer at `place`, seven bits a byte, lowest first, its sign in the last bit; and the place after it."""
    value = shift = 0
    while place < len(header):
        value |= (header[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if not header[place - 1] & 128:
            break
    return (value >> 1) ^ -(value & 1), place
