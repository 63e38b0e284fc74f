"""Days as people write them on the command line, read and held against the log; it knows no command."""

from datetime import date, timedelta

import typer

from ml.data.dataset import DatasetSpec


def parse_days(text: str, spec: DatasetSpec) -> list[date]:
    """`FIRST..LAST` or one day as a list of days of the log; typer.BadParameter names what is wrong with it."""
    first_text, _, last_text = text.partition("..")
    try:
        first, last = date.fromisoformat(first_text), date.fromisoformat(last_text or first_text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a day (2026-01-31) nor FIRST..LAST: {error}") from error
    if last < first:
        raise typer.BadParameter(f"{text!r} ends before it begins")
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    outside = [day for day in days if not spec.days.contains(day)]
    if outside:
        raise typer.BadParameter(
            f"{outside[0]} lies outside dataset {spec.name}, which covers {spec.days.first} .. "
            f"{spec.days.last or 'now'}"
        )
    return days


def one_day(text: str, spec: DatasetSpec) -> date:
    """The one day of the log that `text` names; typer.BadParameter where it names several, or none."""
    day, *others = parse_days(text, spec)
    if others:
        raise typer.BadParameter(f"{text!r} is {len(others) + 1} days; a review is of one day")
    return day
