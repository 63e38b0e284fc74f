"""Finds the items of Ali-CCP's feature texts, whole batches at a time; what a field makes of them is not known here.

A text is `field␂id␃value` items, each ended by ␁ (the bytes 1, 2 and 3). The texts of a batch lie one behind the other
in one buffer, so that every step is one numpy operation over all of them: SQL's list functions would walk each text
once a field, which takes four times as long.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

#: Ends an item, its field number and its id in the raw text.
ITEM_END, FIELD_END, ID_END = "\x01", "\x02", "\x03"
#: So many bytes are compared at once; field numbers are no longer ("150_14" has six).
MAX_FIELD_LENGTH = 8

# Arrow's string view: a length and twelve bytes of text, or a length, four bytes, the buffer's number and the place.
_VIEW = np.dtype([("length", "<u4"), ("head", "<u8"), ("tail", "<u4")])
_INLINE = 12
_PADDING = 16
_WELL_FORMED = b"\x02\x03\x01"
_HEAD_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)] + [0], dtype=np.uint64)
_TAIL_MASKS = np.array([0] * 9 + [(1 << 8 * n) - 1 for n in range(1, 5)], dtype=np.uint32)

_SHOWN_AS = str.maketrans({ITEM_END: "␁", FIELD_END: "␂", ID_END: "␃"})
#: A broken text may be a megabyte long; so much of it tells what is wrong.
SHOWN_CHARACTERS = 80

Places = NDArray[np.int64]


def field_key(number: str) -> int:
    """A field number as `Items.keys` gives it."""
    return int.from_bytes(number.encode(), "little")


def runs(starts: Places, lengths: Places) -> Places:
    """The places start, start + 1, … of each run of `lengths` places, one run after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)


class Items:
    """The items of a batch of texts, in the order of the texts.

    `found` int64 [texts] counts the items of each text; `row` int64 [items] is the text of each; `well_formed` bool
    [items] tells whether field, id and value are all there; `keys` uint64 [items] is the field number's bytes (0 for
    one longer than `MAX_FIELD_LENGTH`).
    """

    def __init__(self, texts: pa.StringArray) -> None:
        """`texts` without nulls, each empty or ended by `ITEM_END`."""
        offsets = np.zeros(1, dtype=np.int32)
        if len(texts):
            offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        # Twelve bytes are loaded from any place, so the buffer goes on behind the last one.
        self._bytes = np.zeros(last - first + _PADDING, dtype=np.uint8)
        if last > first:
            self._bytes[: last - first] = np.frombuffer(texts.buffers()[2], dtype=np.uint8)[first:last]
        # A NUL byte is a mark too: an item that holds one is not well formed. The bytes behind the last are NULs.
        marks = np.flatnonzero(self._bytes <= 3)[:-_PADDING]
        proper, (self._field_end, self._id_end, self._end) = _item_marks(marks, self._bytes[marks])
        self._start = np.concatenate([[0], self._end[:-1] + 1])[: len(self._end)]
        lengths = np.where(proper, self._field_end - self._start, 0)
        self.well_formed = (
            proper & (lengths > 0) & (self._id_end - self._field_end > 1) & (self._end - self._id_end > 1)
        )
        self.found = np.diff(np.searchsorted(self._end, offsets[1:] - first), prepend=0)
        self.row = np.repeat(np.arange(len(texts)), self.found)
        self.keys = self._eight_bytes(self._start) & _HEAD_MASKS[np.minimum(lengths, MAX_FIELD_LENGTH + 1)]

    def ids(self, chosen: Places) -> NDArray[np.void]:
        """The ids of the items `chosen`, as string views (`text_array`); equal views are equal ids."""
        start = self._field_end[chosen] + 1
        lengths = self._id_end[chosen] - start
        views = np.empty(len(chosen), dtype=_VIEW)
        views["length"] = lengths
        views["head"] = self._eight_bytes(start) & _HEAD_MASKS[np.minimum(lengths, 8)]
        longest = lengths.max(initial=0)
        views["tail"] = 0
        if longest > 8:
            views["tail"] = self._four_bytes(start + 8) & _TAIL_MASKS[np.minimum(lengths, _INLINE)]
        if longest > _INLINE:
            long = np.flatnonzero(lengths > _INLINE)
            views["head"][long] &= np.uint64(0xFFFFFFFF)
            views["tail"][long] = start[long]
        return views

    def text_array(self, views: NDArray[np.void]) -> pa.Array:
        """String views as an Arrow array of strings."""
        buffers = [None, pa.py_buffer(views), pa.py_buffer(self._bytes)]
        return pa.Array.from_buffers(pa.string_view(), len(views), buffers).cast(pa.string())

    def values(self, chosen: Places) -> pa.Array:
        """The value texts of the items `chosen`."""
        start = self._id_end[chosen] + 1
        lengths = self._end[chosen] - start
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._bytes[runs(start, lengths)])]
        return pa.Array.from_buffers(pa.string(), len(chosen), buffers)

    def id_text(self, item: int) -> str:
        """The id of one item."""
        return self._bytes[self._field_end[item] + 1 : self._id_end[item]].tobytes().decode("utf-8", errors="replace")

    def shown(self, item: int) -> str:
        """One item as a reader can see it, separators as ␂ and ␃, its end cut off where it is long."""
        raw = self._bytes[self._start[item] : self._end[item]][: 4 * SHOWN_CHARACTERS].tobytes()
        return raw.decode("utf-8", errors="replace").translate(_SHOWN_AS)[:SHOWN_CHARACTERS]

    def malformed(self) -> Iterator[tuple[int, str]]:
        """Each text with items that are not well formed, and the first of them as `shown`."""
        items = np.flatnonzero(~self.well_formed)
        rows, first = np.unique(self.row[items], return_index=True)
        for row, place in zip(rows, first, strict=True):
            yield int(row), self.shown(int(items[place]))

    def _eight_bytes(self, places: Places) -> NDArray[np.uint64]:
        return as_strided(self._bytes[:8].view(np.uint64), shape=(len(self._bytes) - 7,), strides=(1,))[places]

    def _four_bytes(self, places: Places) -> NDArray[np.uint32]:
        return as_strided(self._bytes[:4].view(np.uint32), shape=(len(self._bytes) - 3,), strides=(1,))[places]


def _item_marks(marks: Places, kinds: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], tuple[Places, Places, Places]]:
    """Of each item whether its marks are ␂␃␁, and where it has these three (anywhere, where it has not)."""
    if kinds.tobytes() == _WELL_FORMED * (len(kinds) // 3):
        return np.ones(len(kinds) // 3, dtype=bool), (marks[0::3], marks[1::3], marks[2::3])
    end = np.flatnonzero(kinds == 1)
    field_end, id_end = np.maximum(end - 2, 0), np.maximum(end - 1, 0)
    proper = (np.diff(end, prepend=-1) == 3) & (kinds[field_end] == 2) & (kinds[id_end] == 3)
    return proper, (marks[field_end], marks[id_end], marks[end])
