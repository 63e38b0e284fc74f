"""What an inspection is told; imports no torch and reads no file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class InspectionSpec(BaseModel):
    """Inspects one bundle on a sample of one day's validated samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle_dir: Path
    samples: Path = Field(description="validated samples.parquet of the judged day")
    content_sha256: str = Field(min_length=1, description="of the samples, from the day's receipt")
    embedding_table: Path | None = Field(default=None, description="the pre-trained CTR table of the same vocabulary")
    #: Shuffling costs a pass over the rows for every field; 20,000 place an AUC within about half a point.
    max_rows: int = Field(default=20_000, ge=100)
    repeats: int = Field(default=2, ge=1, le=100, description="shuffles of each field")
    max_values: int = Field(default=1500, ge=10, description="users, and items, whose embeddings are clustered")
    clusters: int = Field(default=8, ge=2, le=100)
    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=8192, ge=1)
    threads: int = Field(default=1, ge=1, le=1024)
    encoded_cache: Path = Field(description="folder of the encoded days, shared between runs")
