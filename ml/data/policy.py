"""The thresholds a team sets in its dataset spec, from attribution to the gate; no code that applies them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml.data.validation_spec import ValidationSpec
from ml.training.settings import TrainingSettings

__all__ = ["AttributionSpec", "GateSpec", "TrainingDefaults", "ValidationSpec", "WindowPolicy"]


class AttributionSpec(BaseModel):
    """Which clicks belong to an impression and which conversions to a click. Windows are half-open: [0, W)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    click_window_seconds: int = Field(default=3600, ge=0, le=7 * 86400, description="from impression to click")
    conversion_window_days: int = Field(default=3, ge=0, le=90, description="W, in days from click to conversion")
    touch: Literal["last", "first", "none"] = Field(
        default="last",
        description="of several clicks that a conversion may follow, the one that is credited; `none`: nothing is "
        "inferred, and only what the log itself names (click or impression id) is credited",
    )
    #: A basket is filled in the session of the click; a day leaves room for the evening.
    stage_window_seconds: int = Field(
        default=86400, ge=1, le=30 * 86400, description="from click to add-to-cart or favourite"
    )

    @property
    def conversion_window_seconds(self) -> int:
        """W in seconds."""
        return self.conversion_window_days * 86400


class WindowPolicy(BaseModel):
    """Which days a model as of D is trained on: D − window_days .. D − 1, never D itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(default=14, ge=1, le=400)
    min_days: int = Field(default=7, ge=1, le=400, description="least admitted days in the window")
    max_missing_days: int = Field(default=2, ge=0, le=400, description="most days of the window that are not admitted")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.min_days > self.window_days:
            raise ValueError(f"min_days {self.min_days} is above window_days {self.window_days}; no window can pass")
        return self


class TrainingDefaults(TrainingSettings):
    """What a model is trained with unless the run's form says otherwise (the papers' preset where they agree)."""

    #: Without validation rows no epoch is better than another, and nothing can be calibrated.
    validation_share: float = Field(default=0.1, gt=0, lt=1, description="share of the rows that judge the epochs")
    model: dict[str, Any] = Field(default={"name": "cstwa"}, description="`name` and the model's hyper-parameters")
    pretraining_epochs: int = Field(default=2, ge=1, le=1000)
    embedding_dim: int = Field(default=5, ge=1, le=512)
    graph_neighbours: int = Field(default=8, ge=1, le=256, description="K, the neighbours kept per graph node")


class GateSpec(BaseModel):
    """What a model must show on the judged day before it becomes champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    primary_metric: Literal["ctcvr_auc"] = "ctcvr_auc"
    #: Below about a hundred positives an AUC's standard error exceeds .03: no honest difference shows.
    min_conversions: int = Field(default=100, ge=1)
    min_clicks: int = Field(default=200, ge=1)
    margin: float = Field(default=0.0, ge=0, lt=0.5, description="the difference's lower bound must exceed this")
    #: At 95 %, one of forty models no better than the champion looks better by chance.
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    #: A thousand place a 2.5 % quantile to within about half a percent of probability.
    replicates: int = Field(default=1000, ge=200, le=100_000)
    #: A percent of log loss is what features worth having gain; giving up more for a better order is no bargain.
    tolerance: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="largest tolerated rise of a task's log loss, as a share of the champion's",
    )
    #: Half a point of AUC is a large loss on clicks; a loss that chance explains is not held against a model.
    auc_tolerance: float = Field(
        default=0.005,
        ge=0,
        lt=0.5,
        description="largest tolerated loss of the CTR and the CVR AUC and of the CTCVR GAUC, where it is shown",
    )
    #: Bids scale with predicted over observed: a tenth off is a tenth of the budget. Held against a model only where
    #: the day shows it: a hundred conversions leave the ratio within 20 % either way by chance alone.
    pcoc_low: float = Field(default=0.9, gt=0, le=1, description="the interval of PCOC must not lie below this")
    pcoc_high: float = Field(default=1.1, ge=1, description="the interval of PCOC must not lie above this")
    #: A model half as high again is no bidder; a day that cannot even rule that out says nothing of the level.
    pcoc_gross: float = Field(
        default=1.5,
        gt=1,
        description="factor that the interval of PCOC must rule out either way, or the day is too small to say",
    )
    #: A total can fit while cheap impressions are over- and dear ones underestimated. Twice the level's tolerance: in
    #: simulation a perfect model's share is within .17 on 99 of 100 days of a hundred conversions.
    max_ece: float = Field(
        default=0.2,
        gt=0,
        description="largest CTCVR calibration error beyond that of the labels' noise, as a share of the observed rate",
    )
    #: Fields of few values cover the log's devices, pages and genders without being named, at little cost.
    slice_fields: tuple[str, ...] | None = Field(
        default=None, description="fields whose slices are measured and guarded; absent: those of at most slice_values"
    )
    slice_values: int = Field(default=20, ge=2, le=200, description="most slices of a field; the rest are (other)")
    #: An AUC of 50 positives has a standard error of about .04: a collapse still shows.
    slice_min_rows: int = Field(default=1000, ge=1, description="support below which a slice is not measured")
    slice_min_positives: int = Field(default=50, ge=1, description="support below which a slice is not measured")
    #: Slices differ by a point or two from day to day; five are a field that the model has lost.
    slice_drop: float = Field(
        default=0.05, ge=0, lt=0.5, description="loss of AUC against the champion, beyond chance, that is a collapse"
    )
    #: Unconverted rows have no order, so it is the item's own price or value, which every row has.
    value_field: str | None = Field(
        default=None,
        description="number field by whose value the report shows the bias before and after calibration; absent: by "
        "score alone, and by predicted order value where the model has one",
    )
    #: Above this a label has leaked; no conversion model is that good.
    max_auc: float = Field(default=0.98, gt=0.5, le=1)
