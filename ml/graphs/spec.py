"""What one similarity graph is built from: the input of ``python -m ml graph``; imports neither torch nor faiss."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml.data.layout import Side


class GraphDay(BaseModel):
    """One day's validated samples: the file and the id of its content, under which its encoding is cached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    samples: Path
    content_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class GraphSpec(BaseModel):
    """One side's graph: embeddings, vocabulary and days it is built from, and how (MODELS.md, CSTWA 2 and 3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: Side
    table: Path = Field(description="safetensors file whose tensor `table` is the float32 [total_rows, d] embedding")
    vocabulary_dir: Path
    days: tuple[GraphDay, ...] = Field(min_length=1)
    encoded_cache: Path
    k: int = Field(default=8, ge=1, le=256, description="neighbours kept in a row; the paper has 8")
    include_self: bool = Field(default=True, description="whether a node may be its own neighbour [reading]")
    threads: int = Field(default=1, ge=1, le=256)

    @model_validator(mode="after")
    def _days_in_order(self) -> Self:
        days = [entry.day for entry in self.days]
        if any(later <= earlier for earlier, later in pairwise(days)):
            raise ValueError(f"days must rise, each once, got {', '.join(map(str, days))}")
        return self
