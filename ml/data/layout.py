"""Where each field's rows lie in the one fused embedding table; knows no values, no tensors and no files."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
    """A behaviour sequence whose members use the rows of the field named by ``of``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    of: str
    entity: Entity
    max_length: int = Field(ge=1)


class FeatureLayout(BaseModel):
    """The fused table's plan: columns in spec order, lying one after the other without gaps.

    The global row id of a value is ``column.offset + local id``; local id 0 is out-of-vocabulary or missing.
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
        for column in self.columns:
            if column.offset != expected:
                raise ValueError(f"column {column.name!r} starts at row {column.offset}, expected {expected}")
            expected += column.size
        if self.total_rows != expected:
            raise ValueError(f"total_rows is {self.total_rows}, but the columns hold {expected} rows")
        names = [c.name for c in self.columns] + [s.name for s in self.sequences]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names used more than once: {repeated}")
        for sequence in self.sequences:
            self.index(sequence.of)
        for side, key in (("user", self.user_key), ("item", self.item_key)):
            column = self.columns[self.index(key)]
            if column.entity != side:
                raise ValueError(f"{side}_key {key!r} is a field of entity {column.entity!r}, not of {side!r}")
        return self

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
            largest = max(self.columns, key=lambda column: column.size)
            raise ValueError(
                f"the fused table would have {self.total_rows} rows, encoded days can number fewer than {MAX_ROWS}: "
                f"raise min_count, or drop a field (the largest is {largest.name!r} with {largest.size} rows)"
            )
