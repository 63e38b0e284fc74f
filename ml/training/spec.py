"""Everything that a training run is told, as one frozen record; imports no torch and reads no file."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, model_validator

from ml.code_version import code_version
from ml.data.fields import FieldSpec
from ml.models.configs.base import ModelConfig, Task
from ml.models.configs.catalog import parse_model_config
from ml.training.settings import TrainingSettings

ParsedModelConfig = Annotated[SerializeAsAny[ModelConfig], BeforeValidator(parse_model_config)]


class TrainingDay(BaseModel):
    """One admitted day of the window: its samples file, and the receipt and content hash that vouch for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    samples: Path
    receipt_id: str = Field(min_length=1)
    content_sha256: str = Field(min_length=1)


class TrainInputs(BaseModel):
    """What earlier assets made. Paths say where it lies, versions (part of the identity) what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary_dir: Path | None = None
    vocabulary_version: str | None = None
    user_graph_dir: Path | None = None
    user_graph_version: str | None = None
    item_graph_dir: Path | None = None
    item_graph_version: str | None = None
    embedding_table: Path | None = Field(default=None, description="table.safetensors of the CTR pre-training")
    embedding_version: str | None = None

    @model_validator(mode="after")
    def _each_input_has_its_version(self) -> Self:
        pairs = (
            ("vocabulary_dir", "vocabulary_version"),
            ("user_graph_dir", "user_graph_version"),
            ("item_graph_dir", "item_graph_version"),
            ("embedding_table", "embedding_version"),
        )
        for path, version in pairs:
            if (getattr(self, path) is None) != (getattr(self, version) is None):
                raise ValueError(
                    f"{path} is {getattr(self, path)} and {version} is {getattr(self, version)}: give both or neither"
                )
        return self


class TrainRuntime(BaseModel):
    """How and where the run is done: no part of the identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int = Field(
        default=1, ge=1, le=1024, description="most threads of torch; a step uses one for each 8,000 rows of its batch"
    )
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    encoded_cache: Path = Field(description="folder of the encoded days, shared between runs")
    progress_seconds: float = Field(default=3.0, gt=0, description="between two progress lines")
    checkpoints: Path | None = Field(
        default=None, description="folder of the checkpoints of unfinished runs, by identity; none: none are kept"
    )
    checkpoint_seconds: float = Field(default=300.0, gt=0, description="between two checkpoints, SIGTERM's aside")
    preload_bytes: int = Field(
        default=2 * 1024**3, ge=0, description="encoded windows up to this size are held in memory or on the device"
    )
    compile_step: bool = Field(
        default=False, description="torch.compile the forward pass; needs a C++ compiler on CPUs"
    )


class TrainSpec(TrainingSettings):
    """A training run. ``task`` "ctr_pretraining" builds the vocabulary and an embedding table, "cvr" a model bundle.

    Raises ``ValidationError`` naming the field for values that contradict each other: a model of the other task,
    days that are not before ``as_of`` or appear twice, missing inputs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    fields: tuple[FieldSpec, ...] = Field(min_length=1)
    user_key: str
    item_key: str
    model: ParsedModelConfig
    as_of: date
    days: tuple[TrainingDay, ...] = Field(description="oldest first")
    inputs: TrainInputs = TrainInputs()
    runtime: TrainRuntime

    @model_validator(mode="after")
    def _run_is_consistent(self) -> Self:
        if self.model.task != self.task:
            raise ValueError(f"model {self.model.name!r} is for task {self.model.task!r}, the spec's is {self.task!r}")
        days = [day.day for day in self.days]
        if not days:
            raise ValueError("days is empty: the window holds no admitted day, so there is nothing to train on")
        if days != sorted(set(days)):
            raise ValueError(f"days {[str(day) for day in days]} must be distinct and oldest first")
        if days[-1] >= self.as_of:
            raise ValueError(f"day {days[-1]} is not before as_of {self.as_of}: the judged day is never trained on")
        self._check_inputs()
        self._check_calibration()
        return self

    def _check_calibration(self) -> None:
        names = [field.name for field in self.fields if field.kind != "sequence"]
        if self.calibration_field is not None and self.calibration_field not in names:
            raise ValueError(
                f"calibration_field {self.calibration_field!r} is no field with one value a sample; use one of {names}"
            )

    def _check_inputs(self) -> None:
        inputs = self.inputs
        if self.task == "cvr" and inputs.vocabulary_dir is None:
            raise ValueError("inputs.vocabulary_dir is missing: task cvr uses the vocabulary of the CTR pre-training")
        if self.model.needs_graphs and (inputs.user_graph_dir is None or inputs.item_graph_dir is None):
            raise ValueError(
                f"model {self.model.name!r} needs inputs.user_graph_dir and inputs.item_graph_dir (got "
                f"{inputs.user_graph_dir} and {inputs.item_graph_dir}): build the graphs, or switch "
                "structure_migrator off"
            )
        if self.task_ratio is not None and not self.model.takes_task_ratio:
            raise ValueError(
                f"task_ratio is {self.task_ratio}, but model {self.model.name!r} learns conversions from impressions, "
                "not from clicks: leave it out, or use a model of click space such as mlp, mmoe or calibration"
            )
        if self.model.needs_pretrained_table and inputs.embedding_table is None:
            raise ValueError(f"model {self.model.name!r} needs inputs.embedding_table, the pre-trained CTR table")

    def identity(self) -> str:
        """sha256 (hex) over all that determines the bundle, the code included: the ``model_id`` of task cvr.

        No path and nothing of ``runtime`` is in it. Graphs and tables that the model does not read, and settings of
        delayed feedback and calibration where they are off or no conversion is trained on, are left out, so that they
        do not make a new model of the same weights.
        """
        content: dict[str, Any] = self.model_dump(
            mode="json", exclude={"runtime": True, "inputs": True, "days": {"__all__": {"samples"}}}
        )
        if self.delayed_feedback == "none" or self.task == "ctr_pretraining":
            del content["delayed_feedback"], content["delayed_feedback_cap"]
        if self.task == "ctr_pretraining":
            del content["calibration"]
        if self.task == "ctr_pretraining" or self.calibration not in ("auto", "histogram"):
            del content["calibration_field"]
        inputs = self.inputs
        content["inputs"] = {
            "vocabulary": inputs.vocabulary_version,
            "user_graph": inputs.user_graph_version if self.model.needs_graphs else None,
            "item_graph": inputs.item_graph_version if self.model.needs_graphs else None,
            "embedding": inputs.embedding_version if self.model.needs_pretrained_table else None,
        }
        content["code_version"] = code_version()
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
