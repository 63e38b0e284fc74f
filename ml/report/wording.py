"""How the report's pages word numbers, answers and names: the filters of their templates; which they show is theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml.evaluation.intervals import Difference, Interval
from ml.evaluation.measurement import Measured, NotMeasurable
from ml.report.delay_picture import in_words

# Written in capitals wherever they stand alone between underscores or spaces.
_CAPITALS = frozenset({"ctr", "cvr", "ctcvr", "auc", "gauc", "pcoc", "ece", "roc", "gmv", "mae", "cpu", "gpu", "pr"})
# Below it a number is written with an exponent: 3e-08 is read faster than 0.00000003.
_SMALLEST_IN_FULL = 1e-5
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def number(answer: Measured | NotMeasurable, digits: int = 4) -> str:
    """A metric with `digits` after the point, or why there is none."""
    if isinstance(answer, NotMeasurable):
        return f"not measurable: {answer.reason}"
    return f"{answer.value:.{digits}f}"


def percent(share: Measured | NotMeasurable | float, digits: int = 1) -> str:
    """A share as a percentage, or why there is none; one that rounds to 0 and is not keeps two significant digits."""
    if isinstance(share, NotMeasurable):
        return f"not measurable: {share.reason}"
    found = 100 * (share.value if isinstance(share, Measured) else share)
    text = f"{found:.{digits}f}"
    return f"{found:.2g} %" if found and not float(text) else f"{text} %"


def interval(answer: Interval | Difference | NotMeasurable, digits: int = 4) -> str:
    """Lower to upper bound, signed for a difference, or why there is none."""
    if isinstance(answer, NotMeasurable):
        return f"not measurable: {answer.reason}"
    sign = "+" if isinstance(answer, Difference) else ""
    return f"{answer.lower:{sign}.{digits}f} to {answer.upper:{sign}.{digits}f}"


def signed(amount: float, digits: int = 4) -> str:
    """A difference with its sign."""
    return f"{amount:+.{digits}f}"


def p_value(found: float) -> str:
    """A p-value to three digits; what is smaller is said to be."""
    return "< 0.001" if found < 0.001 else f"{found:.3f}"


def value(found: bool | int | float | str | None) -> str:
    """Any single fact: yes or no, thousands apart, a number to read, and a dash for what is not there."""
    if found is None:
        return "–"
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, int):
        return f"{found:,}"
    if isinstance(found, str):
        return found
    text = f"{found:.6f}".rstrip("0")
    return text if _SMALLEST_IN_FULL <= abs(found) < 0.001 else f"{found:.4g}"


def words(identifier: str) -> str:
    """An identifier in words: `ctcvr_ece` is "CTCVR ECE", `enough_clicks` "Enough clicks"."""
    found = [word.upper() if word in _CAPITALS else word for word in identifier.replace("_", " ").split()]
    text = " ".join(found)
    return text[:1].upper() + text[1:]


def count(amount: int, noun: str) -> str:
    """`1 click`, `1,204 clicks`."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def duration(seconds: float | None) -> str:
    """A duration such as `0.4 s`, `3 min 12 s` or `2 h 5 min`; a dash where it was not measured."""
    if seconds is None:
        return "–"
    if round(seconds) < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def memory(amount: int | None) -> str:
    """Bytes in their largest fitting binary unit, such as `1.2 GiB`; a dash where they were not measured."""
    if amount is None:
        return "–"
    found, unit = float(amount), _BINARY_UNITS[0]
    for unit in _BINARY_UNITS:
        if found < 1024 or unit == _BINARY_UNITS[-1]:
            break
        found /= 1024
    return f"{found:.3g} {unit}" if unit != "B" else f"{amount:,} B"


def price(amount: float | None, currency: str = "") -> str:
    """What something costs, to the cent or to two significant digits below one; a dash without a price."""
    if amount is None:
        return "–"
    text = f"{amount:,.2f}" if amount == 0 or abs(amount) >= 0.095 else f"{amount:.2g}"
    return f"{text} {currency}".rstrip()


FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number,
    "percent": percent,
    "interval": interval,
    "signed": signed,
    "p_value": p_value,
    "value": value,
    "words": words,
    "count": count,
    "duration": duration,
    "memory": memory,
    "price": price,
    "delay": in_words,
}
