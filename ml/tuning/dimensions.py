"""One setting of a search: a range or a list of values, as given and as proposed; which settings exist is not its."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

Scalar = bool | int | float | str | None


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Bound = Annotated[int | float, BeforeValidator(_number)]


class Range(BaseModel):
    """Numbers from ``low`` to ``high``, both included; by magnitude with ``log``, at multiples of ``step`` above low.

    Raises ``ValidationError`` for bounds in the wrong order, a log scale that reaches 0, or both ``log`` and ``step``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Bound = Field(allow_inf_nan=False)
    high: Bound = Field(allow_inf_nan=False)
    log: bool = False
    step: Bound | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must lie below high {self.high}; for one value use --set")
        if self.log and self.low <= 0:
            raise ValueError(f"a log scale does not reach low {self.low}: give one above 0")
        if self.log and self.step is not None:
            raise ValueError("give log or step, not both")
        if self.step is not None:
            steps = (self.high - self.low) / self.step
            if not math.isclose(steps, round(steps), abs_tol=1e-6) or steps < 1:
                raise ValueError(f"from low {self.low} no number of steps of {self.step} leads to high {self.high}")
        return self


class Choice(BaseModel):
    """Any of these values; lists among them are single values, such as widths of a tower."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[JsonValue, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_distinct(self) -> Self:
        keys = [choice_key(value) for value in self.values]
        if len(set(map(repr, keys))) < len(keys):
            raise ValueError(f"the values {keys} are not distinct")
        return self


Dimension = Range | Choice


def choice_key(value: Any) -> Scalar:
    """What stands for a value in a study and on pages: itself, or the JSON text of a list."""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value)
    return value


def is_whole(bound: Bound) -> bool:
    """Whether a bound is a whole number, however it is written."""
    return isinstance(bound, int) or float(bound).is_integer()
