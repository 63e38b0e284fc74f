"""What a scoring run is told; imports no torch and reads no file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ScoreSpec(BaseModel):
    """Scores one day's validated samples with one bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle_dir: Path
    samples: Path = Field(description="validated samples.parquet of the judged day")
    content_sha256: str = Field(min_length=1, description="of the samples, from the day's receipt")
    batch_size: int = Field(default=8192, ge=1)
    threads: int = Field(default=1, ge=1, le=1024)
    encoded_cache: Path = Field(description="folder of the encoded days, shared between runs")
