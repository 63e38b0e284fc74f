"""What one feature field of a team's log is: its side, its kind and its column; not how values are encoded."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Entity = Literal["user", "item", "context"]
FieldKind = Literal["id", "category", "number", "sequence"]
#: What users do, in the order in which they do it; carts and favourites are optional stages of a log.
Stage = Literal["impression", "click", "cart", "favourite", "conversion"]

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
        "cart",
        "favourite",
        "cart_time",
        "favourite_time",
        "duplicate_conflict",
        "source_line",
        "p_click",
        "p_conversion",
        "kind_order",
        "stage",
        "event_time",
        "file_row_number",
    }
)


class AggregateSpec(BaseModel):
    """A number counted over the complete days before the impression's own (DUPN's statistical features).

    Events of `count` in the trailing `days` days that agree with the impression in every field of `by` are counted by
    the day they happened on; `per` divides by the count of another stage (NULL where that is 0); `mean_of` takes the
    mean of a number field over them instead of their count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: tuple[str, ...] = Field(min_length=1, max_length=3, description="fields that must agree")
    count: Stage
    per: Stage | None = Field(default=None, description="stage whose count divides: a rate")
    mean_of: str | None = Field(default=None, description="number field whose mean is taken over the counted events")
    days: int = Field(default=7, ge=1, le=60, description="complete days before the impression's day")

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if self.per is not None and self.mean_of is not None:
            raise ValueError(f"per is {self.per!r} and mean_of is {self.mean_of!r}; an aggregate is a rate or a mean")
        return self


class FieldSpec(BaseModel):
    """One feature of an impression.

    `id` and `category` values are opaque text; `number` values are bucketed by quantiles of the training window;
    a `sequence` lists values, newest last, cut to `max_length`: of another field (`of`), or with a vocabulary of its
    own where `of` is absent. A `weighted` sequence has a weight a value (samples column `<name>_weights`).

    `behaviour` and `aggregate` fields have no column: they are derived from what happened before the impression.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="name of the field and of its samples column")
    column: str | None = Field(default=None, description="column of the raw log; the field's own name if absent")
    entity: Entity
    kind: FieldKind = "category"
    buckets: int = Field(default=20, ge=2, le=1000, description="quantile buckets of a number field")
    of: str | None = Field(default=None, description="for a sequence: the field whose values it lists")
    max_length: int = Field(default=50, ge=1, le=1000, description="for a sequence: newest values that are kept")
    weighted: bool = Field(default=False, description="for a sequence: each value carries a weight")
    behaviour: Stage | None = Field(
        default=None, description="for a sequence: values of `of` at the user's earlier events of this stage"
    )
    behaviour_days: int = Field(default=7, ge=1, le=60, description="how many days back earlier events are looked for")
    aggregate: AggregateSpec | None = Field(default=None, description="for a number: counted over earlier days")
    bias: bool = Field(default=False, description="a display bias (position): known in training, absent in ranking")

    @property
    def derived(self) -> bool:
        """Whether the field is computed from earlier events, not read from the log."""
        return self.behaviour is not None or self.aggregate is not None

    @property
    def weights_column(self) -> str:
        """The samples column (DOUBLE[]) of a weighted sequence's weights."""
        return f"{self.name}_weights"

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
        if self.kind != "sequence":
            given = [name for name in ("of", "weighted", "behaviour") if getattr(self, name)]
            if given:
                raise ValueError(
                    f"field {self.name!r} has kind {self.kind!r} and {', '.join(given)}; these belong to sequences, "
                    "and only to them"
                )
        elif self.behaviour is not None and (self.of is None or self.weighted):
            raise ValueError(
                f"field {self.name!r} lists earlier behaviour; name the field whose values it lists in `of`, and give "
                "no weights"
            )
        if self.aggregate is not None and self.kind != "number":
            raise ValueError(f"field {self.name!r} has kind {self.kind!r} and an aggregate; an aggregate is a number")
        if self.derived and self.column is not None:
            raise ValueError(
                f"field {self.name!r} is derived from earlier events and has column {self.column!r}; remove one of both"
            )
        return self
