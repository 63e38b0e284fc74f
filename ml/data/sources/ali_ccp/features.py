"""Makes the fields' columns of Ali-CCP's feature texts, a batch at a time; files and rows are not known here."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml.data.fields import FieldSpec
from ml.data.sources.ali_ccp.items import SHOWN_CHARACTERS, Items, Places, field_key

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_OTHER_FIELD = 255


@dataclass(frozen=True)
class FieldValues:
    """What a batch of rows holds of one field, the values of one row after those of the row before.

    `lengths` int64 [rows]: how many values a row has. `ids`: their texts (Arrow strings), None for a number
    field. `numbers` float64: the weights of a weighted sequence or the values of a number field, else None.
    """

    lengths: NDArray[np.int64]
    ids: pa.Array | None
    numbers: NDArray[np.float64] | None


@dataclass(frozen=True)
class ParsedFeatures:
    """A parsed batch. `found` int64 [rows] counts all items of a row, wanted or not, readable or not.

    `fields` by name holds the fields that occur in the batch; `faults` the rows that could not be read as a whole, each
    with texts `column=raw`.
    """

    found: NDArray[np.int64]
    fields: Mapping[str, FieldValues]
    faults: dict[int, list[str]]


class FeatureParser:
    """Parses feature texts for `fields` (at most 255), whose `source_column` is the field number.

    An id or category holds the item's id, a number the item's value. A sequence holds the ids of all its items in
    their order; a weighted one the `max_length` items of greatest value, lightest first, with the values as weights (of
    equal weights the later item counts as the heavier).
    """

    def __init__(self, fields: Sequence[FieldSpec]) -> None:
        self._fields = sorted(fields, key=lambda field: field_key(field.source_column))
        self._keys = np.array([field_key(field.source_column) for field in self._fields], dtype=np.uint64)

    def parse(self, texts: pa.StringArray) -> ParsedFeatures:
        """Parse texts without nulls, each empty or ended by `ITEM_END`; every text has its row, whatever it holds."""
        items = Items(texts)
        faults: dict[int, list[str]] = {row: [f"features={item}"] for row, item in items.malformed()}
        field = np.minimum(np.searchsorted(self._keys, items.keys), len(self._keys) - 1)
        known = items.well_formed & (self._keys[field] == items.keys)
        field = np.where(known, field, _OTHER_FIELD).astype(np.uint8)
        # Stable on bytes is a radix sort: the items of each field come together, in the order of their rows.
        by_field = np.argsort(field, kind="stable")
        ends = np.cumsum(np.bincount(field, minlength=len(self._fields)))
        parsed = {}
        for place, spec in enumerate(self._fields):
            chosen = by_field[ends[place - 1] if place else 0 : ends[place]]
            if len(chosen):
                parsed[spec.name] = _field_values(spec, items, chosen, faults)
        return ParsedFeatures(found=items.found, fields=parsed, faults=faults)


def _field_values(spec: FieldSpec, items: Items, chosen: Places, faults: dict[int, list[str]]) -> FieldValues:
    numbers, kept = None, None
    if spec.kind == "number" or spec.weighted:
        chosen, numbers = _readable(items, chosen, faults)
    if spec.kind != "sequence":
        kept = _single(spec, items, chosen, numbers, faults)
    elif numbers is not None:
        kept = _heaviest(items.row[chosen], numbers, count=spec.max_length)
    if kept is not None:
        chosen, numbers = chosen[kept], None if numbers is None else numbers[kept]
    return FieldValues(
        lengths=np.bincount(items.row[chosen], minlength=len(items.found)),
        ids=None if spec.kind == "number" else items.text_array(items.ids(chosen)),
        numbers=numbers,
    )


def _readable(items: Items, chosen: Places, faults: dict[int, list[str]]) -> tuple[Places, NDArray[np.float64]]:
    """The items of `chosen` whose value is a finite number, and these numbers; rows of the others are faulted."""
    texts = items.values(chosen)
    try:
        numbers = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        numbers = np.array([float(text) if _NUMBER.fullmatch(text) else math.nan for text in texts.to_pylist()])
    finite = np.isfinite(numbers)
    for item in chosen[~finite]:
        faults.setdefault(int(items.row[item]), []).append(f"features={items.shown(int(item))}")
    return chosen[finite], numbers[finite]


def _single(
    spec: FieldSpec,
    items: Items,
    chosen: Places,
    numbers: NDArray[np.float64] | None,
    faults: dict[int, list[str]],
) -> Places | None:
    """Places in `chosen` of each row's one value, None where all are; a row whose values differ is faulted."""
    rows = items.row[chosen]
    repeats = np.flatnonzero(rows[1:] == rows[:-1]) + 1
    if not len(repeats):
        return None
    kept = np.ones(len(chosen), dtype=bool)
    kept[repeats] = False
    values = items.ids(chosen) if numbers is None else numbers
    for row in np.unique(rows[repeats[values[repeats] != values[repeats - 1]]]):
        places = np.arange(*np.searchsorted(rows, [row, row + 1]))
        given = [items.id_text(int(chosen[place])) if numbers is None else str(numbers[place]) for place in places]
        distinct = list(dict.fromkeys(given))
        if len(distinct) > 1:
            kept[places] = False
            faults.setdefault(int(row), []).append(f"{spec.name}={'|'.join(distinct)[:SHOWN_CHARACTERS]}")
    return np.flatnonzero(kept)


def _heaviest(rows: Places, weights: NDArray[np.float64], *, count: int) -> Places:
    """Places of the `count` greatest weights of each row, rows in order, the lightest first."""
    # Numpy sorts 16 bits by radix, and a batch has no more rows than that.
    order = np.lexsort((weights, rows.astype(np.uint16 if len(rows) and rows[-1] < 1 << 16 else np.int64)))
    ends = np.cumsum(np.bincount(rows))[rows]
    return order[ends - np.arange(len(rows)) <= count]
