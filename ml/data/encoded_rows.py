"""Rows of encoded days chosen and joined in memory; which rows make a batch is batches'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml.data.encoded_day import EncodedDay

Rows = npt.NDArray[np.signedinteger]


def take(day: EncodedDay, rows: Rows) -> EncodedDay:
    """The rows of ``day`` at the positions ``rows`` [m], in their order, in memory."""
    return _each(day, lambda array: array.take(rows, axis=0))


def concatenate(days: Sequence[EncodedDay]) -> EncodedDay:
    """The rows of all ``days``, one day after the other, in memory. All hold the same sequences and stages."""
    if len(days) == 1:
        return _each(days[0], np.array)
    columns = zip(*(list(arrays(day)) for day in days), strict=True)
    joined = iter([np.concatenate(parts) for parts in columns])
    day = _each(days[0], lambda _: next(joined))
    return replace(day, samples_content_id=",".join(day.samples_content_id for day in days))


def arrays(day: EncodedDay) -> Iterator[npt.NDArray]:
    """Every array of ``day``, in the order in which ``take`` and ``concatenate`` go through them."""
    yield day.features
    yield from day.sequences.values()
    yield from day.sequence_weights.values()
    yield from (day.click, day.conversion, day.value)
    yield from day.stages.values()
    yield from (array for array in (day.elapsed, day.delay) if array is not None)


def _each(day: EncodedDay, apply: Callable[[npt.NDArray], npt.NDArray]) -> EncodedDay:
    return EncodedDay(
        features=apply(day.features),
        sequences={name: apply(ids) for name, ids in day.sequences.items()},
        sequence_weights={name: apply(weights) for name, weights in day.sequence_weights.items()},
        click=apply(day.click),
        conversion=apply(day.conversion),
        value=apply(day.value),
        stages={stage: apply(labels) for stage, labels in day.stages.items()},
        elapsed=None if day.elapsed is None else apply(day.elapsed),
        delay=None if day.delay is None else apply(day.delay),
        vocabulary_digest=day.vocabulary_digest,
        samples_content_id=day.samples_content_id,
    )
