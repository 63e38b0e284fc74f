"""What an inspection of a model found, as inspection.json; finding it is the other modules', and imports torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ml.evaluation.evaluated_day import Task
from ml.evaluation.measurement import Measurement

INSPECTION_FILE = "inspection.json"


class FieldImportance(BaseModel):
    """How much of each task's AUC is lost when one field's values are shuffled among the rows.

    losses: mean over the repeats of AUC − AUC with the field shuffled; spreads: their standard deviation, 0 for one
    repeat. Near 0, or below: the model would do as well without (Breiman 2001, section 10).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    field: str
    losses: dict[Task, Measurement]
    spreads: dict[Task, FiniteFloat]


class ClusteredPoint(BaseModel):
    """One embedded value in the picture: its place in two dimensions and the cluster it is in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    x: FiniteFloat
    y: FiniteFloat
    cluster: int = Field(ge=0)


class EmbeddingSpace(BaseModel):
    """One task's embeddings of the sampled values: what they are, how well they fall into clusters, and where they lie.

    silhouette: in [−1, 1] (Rousseeuw 1987), over the clusters of this space. explained: share of the variance that
    the two dimensions of `points` hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    space: Literal["ctr", "cvr"]
    table: str = Field(description="which table it is, in words")
    silhouette: Measurement
    explained: Measurement
    points: tuple[ClusteredPoint, ...]


class EmbeddingClusters(BaseModel):
    """One side's values (users or items) in the space of CTR and in that of CVR, clustered in each alone.

    mutual_information: adjusted for chance (Vinh et al. 2010), between the two clusterings of the same values: 1 is
    the same structure in both, 0 is nothing in common. `colours` of a value are its cluster in the CTR space, so that
    a picture of the CVR space shows what became of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    side: Literal["user", "item"]
    field: str
    values: int = Field(description="values sampled")
    clusters: int
    mutual_information: Measurement
    spaces: tuple[EmbeddingSpace, ...]
    note: str = ""


class Inspection(BaseModel):
    """What was found about one model on one day's sample of rows.

    aucs: with every field as it is, what the losses of `importance` are lost from.
    measures: what only this model can tell of itself (`ConversionModel.measures`), means over the rows; absent values
    were not finite. clusters: empty, with the reason in `notes`, where there is nothing to compare.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model_id: str
    model: str
    rows: int = Field(description="rows looked at, a sample of the day's")
    clicks: int
    conversions: int
    repeats: int
    aucs: dict[Task, Measurement] = {}
    importance: tuple[FieldImportance, ...] = ()
    measures: dict[str, FiniteFloat] = {}
    clusters: tuple[EmbeddingClusters, ...] = ()
    notes: tuple[str, ...] = ()
