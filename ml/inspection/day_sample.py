"""Which of a day's rows are looked at, and what keeps such a sample honest; what is found on them is others'."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ml.data.batch import Batch
from ml.data.encoded_day import EncodedDay

Rows = npt.NDArray[np.int64]

ENOUGH_CONVERSIONS = 50
"""With fewer, an AUC of .7 has a 95 % interval of ± .08 at best (Hanley and McNeil 1982)."""
MOST_CLICKED = 0.9
"""Share of a sample that clicked rows may fill: CTR needs others to tell them from."""


@dataclass(frozen=True, eq=False)
class DaySample:
    """Row numbers of a day, ascending.

    ``uniform``: every row with the same chance; means over a day's rows, and values that fields take, come from it.
    ``judged``, as many: the rows that AUCs are measured on. They are the uniform ones, or ``enriched``: clicked rows
    are drawn uniformly among the clicked and the others among the others, but in another proportion than the day's.
    ``clicked_negatives``: share of clicked rows among those of ``judged``'s population that did not convert, which is
    what the AUC of CTCVR needs to know (``ml.inspection.importance``).
    """

    uniform: Rows
    judged: Rows
    enriched: bool
    clicked_negatives: float


def sample_rows(day: EncodedDay, *, rows: int, seed: int) -> DaySample:
    """At most ``rows`` of the day's rows, the same ones for the same day and ``seed``.

    With fewer than ENOUGH_CONVERSIONS in the uniform sample, all clicked rows are judged, or as many as fill
    MOST_CLICKED of the sample, and clickless ones in the rest.
    """
    uniform = _drawn(np.arange(day.rows), rows, np.random.default_rng([seed, 0]))
    clicked, converted = np.asarray(day.click) == 1, np.asarray(day.conversion) > 0
    if len(uniform) == day.rows or int(converted[uniform].sum()) >= ENOUGH_CONVERSIONS or not clicked.any():
        return DaySample(uniform, uniform, False, _share(clicked[uniform], ~converted[uniform]))
    clicks, others = np.flatnonzero(clicked), np.flatnonzero(~clicked)
    kept = min(len(clicks), max(int(rows * MOST_CLICKED), rows - len(others)))
    judged = np.concatenate(
        [
            _drawn(clicks, kept, np.random.default_rng([seed, 1])),
            _drawn(others, rows - kept, np.random.default_rng([seed, 2])),
        ]
    )
    return DaySample(uniform, np.sort(judged), True, _share(clicked, ~converted))


def rows_of(day: EncodedDay, rows: Rows) -> Batch:
    """The day's ``rows``, ascending, as one batch on the CPU."""

    def read(array: npt.NDArray, kind: type[np.generic]) -> torch.Tensor:
        return torch.from_numpy(array[rows].astype(kind))

    return Batch(
        features=read(day.features, np.int64),
        sequences={name: read(ids, np.int64) for name, ids in day.sequences.items()},
        click=read(day.click, np.float32),
        conversion=read(day.conversion, np.float32),
        value=read(day.value, np.float32),
        sequence_weights={name: read(weights, np.float32) for name, weights in day.sequence_weights.items()},
    )


def part_of(batch: Batch, rows: slice | torch.Tensor) -> Batch:
    """Some rows of a batch without extra stages: a slice, int64 [n] row numbers, or bool [B]."""
    return replace(
        batch,
        features=batch.features[rows],
        sequences={name: ids[rows] for name, ids in batch.sequences.items()},
        click=batch.click[rows],
        conversion=batch.conversion[rows],
        value=batch.value[rows],
        sequence_weights={name: weights[rows] for name, weights in batch.sequence_weights.items()},
    )


def _drawn(rows: Rows, count: int, random: np.random.Generator) -> Rows:
    """``count`` of ``rows`` without replacement, ascending; all of them where there are no more."""
    return rows if len(rows) <= count else np.sort(random.choice(rows, count, replace=False))


def _share(of: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> float:
    return float(of[among].mean()) if among.any() else 0.0
