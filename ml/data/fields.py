"""What one feature field of a team's log is: its side, its kind and its column; not how values are encoded."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Entity = Literal["user", "item", "context"]
FieldKind = Literal["id", "category", "number", "sequence"]

#: Columns of the joined samples table that a field may not be named after: a label among the features is how
#: full Ali-CCP once gave a CVR AUC of 1.0 in a public library.
RESERVED_COLUMNS = frozenset(
    {
        "row_kind",
        "impression_id",
        "user_key",
        "item_key",
        "unit_key",
        "impression_time",
        "click_time",
        "conversion_time",
        "click",
        "conversion",
        "value",
        "order_id",
        "click_id",
        "label_age_seconds",
        "mature",
        "duplicate_rank",
        "unparsed_count",
        "unparsed_columns",
        "source_file",
        "source_row",
        "rule_ids",
        "p_click",
        "p_conversion",
        "kind_order",
    }
)


class FieldSpec(BaseModel):
    """One feature of an impression.

    `id` and `category` values are opaque text; `number` values are bucketed by quantiles of the training window;
    a `sequence` holds values of another field (`of`), newest last, cut to `max_length`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="name of the field and of its samples column")
    column: str | None = Field(default=None, description="column of the raw log; the field's own name if absent")
    entity: Entity
    kind: FieldKind = "category"
    buckets: int = Field(default=20, ge=2, le=1000, description="quantile buckets of a number field")
    of: str | None = Field(default=None, description="for a sequence: the field whose values it lists")
    max_length: int = Field(default=50, ge=1, le=1000, description="for a sequence: newest values that are kept")
    bias: bool = Field(default=False, description="a display bias (position): known in training, absent in ranking")

    @property
    def source_column(self) -> str:
        """The raw log's column that holds this field."""
        return self.column or self.name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name in RESERVED_COLUMNS:
            raise ValueError(
                f"field name {self.name!r} is a column of the samples table; give the field another name and keep "
                "the log's name in `column`"
            )
        if (self.kind == "sequence") != (self.of is not None):
            raise ValueError(
                f"field {self.name!r} has kind {self.kind!r} and of {self.of!r}; `of` belongs to sequences, and only "
                "to them"
            )
        return self
