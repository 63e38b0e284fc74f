"""Turns an engine's error over raw files into a refusal that names the file and the remedy; it catches nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from ml.data.source_spec import TableSpec
from ml.data.sources.tables import LandingRefused

#: How the engine's advice on its own options begins: none of them can be set here.
_ADVICE = ("Possible", "LINE ", "file =", "Try ", "If you are trying", "This can happen", "The search space", "* ")
_REMEDY = "replace the file, then materialize the day again"
_LONGEST_LINE = 300
#: Errors that no file causes.
_OURS = (duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.ResourceInUseException)


def unreadable(
    error: duckdb.Error, *, table: TableSpec, files: Sequence[Path], in_words: Callable[[str], str] = str
) -> LandingRefused:
    """The refusal that `error` means for `files`; `in_words` is asked for the engine's text before it is cut short.

    Raises `error` itself where it does not speak of the files: want of memory or disk is no fault of a day.
    """
    message = str(error)
    named = [path for path in files if str(path) in message]
    if isinstance(error, _OURS) or (isinstance(error, duckdb.IOException) and not named):
        raise error
    why = _sniffing(table) if "Error when sniffing" in message else _reason(in_words(message))
    return LandingRefused(f"{name_files(named or files)}: not readable as {table.format}: {why}; {_REMEDY}")


def name_files(files: Sequence[Path]) -> str:
    """Up to three paths in words: a day may have hundreds."""
    shown = ", ".join(str(path) for path in files[:3])
    return shown + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _reason(message: str) -> str:
    kept: list[str] = []
    for line in (line.strip() for line in message.split("\n")):
        if line.startswith(_ADVICE) or len(kept) == 4:
            break
        if line:
            # The line at fault may be megabytes long.
            kept.append(line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "...")
    return " ".join(kept)


def _sniffing(table: TableSpec) -> str:
    return (
        f"its lines are not all columns separated by {table.delimiter!r}, as many as the first has: look for a line "
        "that is cut or too long, a quote that is not closed, mixed line ends, or an encoding other than UTF-8"
    )
