"""Batches of tensors from encoded days, shuffled for training, in row order for scoring; models live elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ml.data.encoded_day import EncodedDay

PRELOAD_BYTES = 2 * 1024**3
"""Windows up to this size are read into memory once, larger ones stay memory-mapped."""
_HASH_ROWS = 1 << 20

Rows = npt.NDArray[np.signedinteger]


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples: ``features`` int64 [B, C] and ``sequences`` int64 [B, L] hold global row ids (-1 pads sequences on
    the left), ``click``, ``conversion`` and ``value`` are float32 [B]."""

    features: torch.Tensor
    sequences: dict[str, torch.Tensor]
    click: torch.Tensor
    conversion: torch.Tensor
    value: torch.Tensor

    def __len__(self) -> int:
        return self.features.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on ``device``; tensors that are there already are not copied."""
        return Batch(
            features=self.features.to(device, non_blocking=True),
            sequences={name: ids.to(device, non_blocking=True) for name, ids in self.sequences.items()},
            click=self.click.to(device, non_blocking=True),
            conversion=self.conversion.to(device, non_blocking=True),
            value=self.value.to(device, non_blocking=True),
        )


class WindowBatches:
    """Batches over a window of encoded days, whose rows are numbered through from 0 in the order of ``days``.

    A row belongs to validation if a hash of (seed, row number) says so: about ``validation_share`` of the rows, the
    same ones in every epoch and whatever the batch size. The training order of an epoch is a permutation drawn from
    a numpy ``Generator`` seeded with [seed, epoch]. The last batch of a pass may be shorter; no row is left out.
    A window of up to ``preload_bytes`` bytes is copied into memory once.

    Raises ``ValueError`` for no days, days of different vocabularies, a batch size below 1 or a share outside [0, 1).
    """

    def __init__(
        self,
        days: Sequence[EncodedDay],
        *,
        batch_size: int,
        seed: int,
        validation_share: float,
        preload_bytes: int = PRELOAD_BYTES,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, it must be at least 1")
        if not 0 <= validation_share < 1:
            raise ValueError(f"validation_share is {validation_share}, it must be in [0, 1)")
        _refuse_mixed(days)
        self._batch_size = batch_size
        self._seed = seed
        rows = sum(day.rows for day in days)
        validation = is_validation(rows, seed=seed, share=validation_share)
        # Half the memory of int64, and an epoch's order is a copy.
        number = np.int32 if rows < 2**31 else np.int64
        self._training = np.flatnonzero(~validation).astype(number)
        self._validation = np.flatnonzero(validation).astype(number)
        fits = sum(_bytes(day) for day in days) <= preload_bytes
        self._days = [_concatenate(days)] if fits else list(days)
        self._starts = np.cumsum([0, *(day.rows for day in self._days)])

    @property
    def training_rows(self) -> int:
        """Rows of one training epoch."""
        return len(self._training)

    @property
    def validation_rows(self) -> int:
        """Rows held out for validation."""
        return len(self._validation)

    @property
    def training_batches(self) -> int:
        """Batches of one training epoch."""
        return -(-self.training_rows // self._batch_size)

    def training(self, epoch: int) -> Iterator[Batch]:
        """Every training row once, in the order of (seed, ``epoch``); ``epoch`` ≥ 0."""
        order = np.random.default_rng([self._seed, epoch]).permutation(self._training)
        return self._gather_all(order)

    def validation(self) -> Iterator[Batch]:
        """Every validation row once, in row order."""
        return self._gather_all(self._validation)

    def _gather_all(self, order: Rows) -> Iterator[Batch]:
        for start in range(0, len(order), self._batch_size):
            yield self._gather(order[start : start + self._batch_size])

    def _gather(self, rows: Rows) -> Batch:
        if len(self._days) == 1:
            return _batch(_take(self._days[0], rows))
        # Sorted rows touch each page of a memory map once; the batch gets its own order back at the end.
        by_place = np.argsort(rows, kind="stable")
        ordered = rows[by_place]
        bounds = np.searchsorted(ordered, self._starts)
        pieces = [
            _take(day, ordered[low:high] - start)
            for day, start, low, high in zip(self._days, self._starts, bounds, bounds[1:], strict=False)
            if high > low
        ]
        places = np.empty_like(by_place)
        places[by_place] = np.arange(len(rows))
        return _batch(_take(_concatenate(pieces), places))


def sequential_batches(day: EncodedDay, batch_size: int) -> Iterator[Batch]:
    """Every row of ``day`` once, in row order: for scoring. The last batch may be shorter."""
    for start in range(0, day.rows, batch_size):
        yield _batch(_take(day, np.arange(start, min(start + batch_size, day.rows))))


def is_validation(rows: int, *, seed: int, share: float) -> npt.NDArray[np.bool_]:
    """bool [rows]: which rows are held out. SplitMix64 (Steele et al., 2014) of the row number, keyed by the
    hash of ``seed``, read as a fraction of 2^64 and compared with ``share``; arithmetic is modulo 2^64."""
    key = _splitmix64(np.array([seed % 2**64], dtype=np.uint64))
    held_out = np.empty(rows, dtype=np.bool_)
    for start in range(0, rows, _HASH_ROWS):
        stop = min(start + _HASH_ROWS, rows)
        fraction = _splitmix64(np.arange(start, stop, dtype=np.uint64) ^ key) >> np.uint64(11)
        held_out[start:stop] = fraction < np.uint64(int(share * 2**53))
    return held_out


def _splitmix64(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = state + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _refuse_mixed(days: Sequence[EncodedDay]) -> None:
    if not days:
        raise ValueError("a window needs at least one encoded day, got none")
    first = days[0]
    for day in days[1:]:
        if day.vocabulary_digest != first.vocabulary_digest:
            raise ValueError(
                f"days encoded with different vocabularies, {first.vocabulary_digest} and "
                f"{day.vocabulary_digest}: encode all days of a window with one vocabulary"
            )


def _bytes(day: EncodedDay) -> int:
    arrays = (day.features, day.click, day.conversion, day.value, *day.sequences.values())
    return sum(array.nbytes for array in arrays)


def _take(day: EncodedDay, rows: Rows) -> EncodedDay:
    return EncodedDay(
        features=day.features.take(rows, axis=0),
        sequences={name: ids.take(rows, axis=0) for name, ids in day.sequences.items()},
        click=day.click.take(rows),
        conversion=day.conversion.take(rows),
        value=day.value.take(rows),
        vocabulary_digest=day.vocabulary_digest,
        samples_content_id=day.samples_content_id,
    )


def _concatenate(days: Sequence[EncodedDay]) -> EncodedDay:
    return EncodedDay(
        features=np.concatenate([day.features for day in days]),
        sequences={name: np.concatenate([day.sequences[name] for day in days]) for name in days[0].sequences},
        click=np.concatenate([day.click for day in days]),
        conversion=np.concatenate([day.conversion for day in days]),
        value=np.concatenate([day.value for day in days]),
        vocabulary_digest=days[0].vocabulary_digest,
        samples_content_id=",".join(day.samples_content_id for day in days),
    )


def _batch(day: EncodedDay) -> Batch:
    return Batch(
        features=torch.from_numpy(day.features).long(),
        sequences={name: torch.from_numpy(ids).long() for name, ids in day.sequences.items()},
        click=torch.from_numpy(day.click).float(),
        conversion=torch.from_numpy(day.conversion).float(),
        value=torch.from_numpy(day.value).float(),
    )
