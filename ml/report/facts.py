"""What a report shows beside the evaluation's numbers: data used, label maturity, cost, the inspected model."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ml.data.delay import DelayCurve
from ml.inspection.record import Inspection


class DayUsed(BaseModel):
    """A day of the training window. verdict: "admitted" (trained on), "missing" or a refusal's own word."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    day: str
    receipt_id: str = ""
    verdict: str
    rows: int | None = None
    why: str = ""
    restated: bool = Field(default=False, description="its receipt is another now than the model was trained with")


class StageCost(BaseModel):
    """What one child process cost: seconds of wall clock, of all CPU cores, of a GPU held; resident memory in bytes.

    None: not measured (an artifact of an older version). price: in `Costs.currency`, None without a price.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: str
    wall_seconds: FiniteFloat | None = None
    cpu_seconds: FiniteFloat | None = None
    gpu_seconds: FiniteFloat | None = None
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None
    price: FiniteFloat | None = None
    note: str = Field(default="", description="what the figures leave out, in words")


class Costs(BaseModel):
    """The stages in the order they ran, and what an hour is priced at; a price that is not set is not guessed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stages: tuple[StageCost, ...] = ()
    currency: str = ""
    per_cpu_hour: FiniteFloat | None = None
    per_gpu_hour: FiniteFloat | None = None


class ReportFacts(BaseModel):
    """Everything that the page shows and the evaluation does not know: `report.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    data_used: tuple[DayUsed, ...] = ()
    labels_mature: bool
    mature_from: date | None = None
    label_days: int = Field(description="days after which a day's labels are final")
    delay: DelayCurve | None = None
    costs: Costs = Costs()
    inspection: Inspection | None = None
    champion_inspection: Inspection | None = None
    inspection_failures: tuple[str, ...] = ()
