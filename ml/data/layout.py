"""Where each field's rows lie in the one fused embedding table; knows no values, no tensors and no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml.data.fields import FieldSpec

Entity = Literal["user", "item", "context"]
Side = Literal["user", "item"]
ColumnKind = Literal["id", "category", "number"]

OUT_OF_VOCABULARY = 0
"""Local id of a value that is missing or was not seen often enough: the first row of every field."""
PADDING = -1
"""Fills the left of a sequence shorter than its maximal length; never a row of the table."""
MAX_ROWS = 2**31
"""Encoded days hold int32 row ids: a fused table needs fewer rows than this."""


class FeatureColumn(BaseModel):
    """One field of the encoded matrix: its rows of the fused table are ``offset .. offset + size - 1``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    entity: Entity
    kind: ColumnKind
    offset: int = Field(ge=0, description="first row of the field in the fused table: its out-of-vocabulary row")
    size: int = Field(ge=1, description="rows of the field, the out-of-vocabulary row included")
    bias: bool = False


class SequenceColumn(BaseModel):
    """A list of values: of the field named by ``of``, whose rows its members use, or with rows of its own.

    Rows of its own are ``offset .. offset + size - 1``, the first one out-of-vocabulary, as a field's are. Keys that
    only some sequences need are left out of the JSON where they say nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    of: str | None = Field(default=None, exclude_if=lambda of: of is None)
    entity: Entity
    max_length: int = Field(ge=1)
    weighted: bool = Field(default=False, exclude_if=lambda weighted: not weighted)
    offset: int | None = Field(default=None, ge=0, exclude_if=lambda offset: offset is None)
    size: int | None = Field(default=None, ge=1, exclude_if=lambda size: size is None)

    @property
    def weights_column(self) -> str:
        """The samples column of a weighted sequence's weights."""
        return f"{self.name}_weights"

    @model_validator(mode="after")
    def _has_rows(self) -> SequenceColumn:
        if (self.of is None) == (self.offset is None) or (self.offset is None) != (self.size is None):
            raise ValueError(
                f"sequence {self.name!r} has of {self.of!r}, offset {self.offset} and size {self.size}: give the field "
                "whose rows it uses, or offset and size of its own rows"
            )
        return self


class RowRange(NamedTuple):
    """Rows ``offset .. offset + size - 1`` of the fused table, which hold the values of ``name``."""

    name: str
    kind: ColumnKind
    offset: int
    size: int


class FeatureLayout(BaseModel):
    """The fused table's plan: columns in spec order, then sequences with rows of their own, without gaps.

    The global row id of a value is ``offset + local id``; local id 0 is out-of-vocabulary or missing.
    Raises ``ValueError`` (pydantic's ``ValidationError``) when offsets leave gaps or overlap, names repeat, a
    sequence names an unknown field, or a key is no column of its side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[FeatureColumn, ...]
    sequences: tuple[SequenceColumn, ...] = ()
    total_rows: int = Field(ge=0)
    user_key: str
    item_key: str

    @model_validator(mode="after")
    def _is_consistent(self) -> FeatureLayout:
        expected = 0
        for rows in self.row_ranges:
            if rows.offset != expected:
                raise ValueError(f"column {rows.name!r} starts at row {rows.offset}, expected {expected}")
            expected += rows.size
        if self.total_rows != expected:
            raise ValueError(f"total_rows is {self.total_rows}, but the columns hold {expected} rows")
        names = [c.name for c in self.columns] + [s.name for s in self.sequences]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names used more than once: {repeated}")
        for sequence in self.sequences:
            if sequence.of is not None:
                self.index(sequence.of)
        for side, key in (("user", self.user_key), ("item", self.item_key)):
            column = self.columns[self.index(key)]
            if column.entity != side:
                raise ValueError(f"{side}_key {key!r} is a field of entity {column.entity!r}, not of {side!r}")
        return self

    @property
    def row_ranges(self) -> tuple[RowRange, ...]:
        """Whose rows follow one another in the fused table: every column's, then those of sequences with their own."""
        columns = [RowRange(column.name, column.kind, column.offset, column.size) for column in self.columns]
        own = [
            RowRange(sequence.name, "category", sequence.offset, sequence.size)
            for sequence in self.sequences
            if sequence.offset is not None and sequence.size is not None
        ]
        return (*columns, *own)

    def row_range(self, name: str) -> RowRange:
        """The rows of a column, or of a sequence: its own or those of its field. Raises ``ValueError`` if unknown."""
        source = next((sequence.of for sequence in self.sequences if sequence.name == name), None) or name
        for rows in self.row_ranges:
            if rows.name == source:
                return rows
        raise ValueError(f"no field {name!r} in the layout; it has {[rows.name for rows in self.row_ranges]}")

    def index(self, name: str) -> int:
        """Position of column ``name`` in ``columns``; raises ``ValueError`` naming the columns there are."""
        for position, column in enumerate(self.columns):
            if column.name == name:
                return position
        raise ValueError(f"no column {name!r} in the layout; it has {[c.name for c in self.columns]}")

    def entity_columns(self, entity: Entity) -> tuple[int, ...]:
        """Positions in ``columns`` of the fields that belong to ``entity``, in order."""
        return tuple(i for i, column in enumerate(self.columns) if column.entity == entity)

    def node_column(self, side: Side) -> int:
        """Position in ``columns`` of the field whose values are the nodes of ``side``'s similarity graph."""
        return self.index(self.user_key if side == "user" else self.item_key)

    def node_count(self, side: Side) -> int:
        """Nodes of ``side``'s graph: every row of its key field but the out-of-vocabulary one (it is no node)."""
        return self.columns[self.node_column(side)].size - 1

    def refuse_oversized(self) -> None:
        """Raises ``ValueError`` if the table has more rows than the int32 ids of encoded days can number."""
        if self.total_rows >= MAX_ROWS:
            largest = max(self.row_ranges, key=lambda rows: rows.size)
            raise ValueError(
                f"the fused table would have {self.total_rows} rows, encoded days can number fewer than {MAX_ROWS}: "
                f"raise min_count, or drop a field (the largest is {largest.name!r} with {largest.size} rows)"
            )


def lay_out(fields: Sequence[FieldSpec], sizes: Mapping[str, int], *, user_key: str, item_key: str) -> FeatureLayout:
    """The layout of ``fields`` in their order; ``sizes``: rows of every field but sequences of another field."""
    columns: list[FeatureColumn] = []
    sequences: list[SequenceColumn] = []
    offset = 0
    for field in fields:
        if field.kind == "sequence":
            continue
        size = sizes[field.name]
        columns.append(
            FeatureColumn(
                name=field.name, entity=field.entity, kind=field.kind, offset=offset, size=size, bias=field.bias
            )
        )
        offset += size
    for field in fields:
        if field.kind != "sequence":
            continue
        own = {} if field.of else {"offset": offset, "size": sizes[field.name]}
        sequences.append(
            SequenceColumn(
                name=field.name,
                of=field.of,
                entity=field.entity,
                max_length=field.max_length,
                weighted=field.weighted,
                **own,
            )
        )
        offset += own.get("size", 0)
    return FeatureLayout(
        columns=tuple(columns),
        sequences=tuple(sequences),
        total_rows=offset,
        user_key=user_key,
        item_key=item_key,
    )
