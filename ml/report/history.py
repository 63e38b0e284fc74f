"""Renders the page across days: champions, decisions, metrics over time with the days' verdicts; it reads no file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from ml.atomic_files import atomic_file
from ml.evaluation.evaluated_day import TASKS
from ml.report import wording
from ml.report.environment import page_environment
from ml.report.history_day import (
    MOST_DAYS,
    VERDICTS,
    DataState,
    Estimate,
    HistoryDay,
    HistoryDecision,
    reigns,
)
from ml.report.history_pictures import draw_history

LARGEST_BYTES = 3_000_000
MOST_DECISIONS = 500
#: From the page's own folder in the store, `<artifact>/<version>/`, to the store.
STORE = "../.."

_DATA: dict[DataState, str] = {
    "admitted": "data admitted",
    "refused": "✕ refused",
    "accepted": "▲ accepted by review",
    "excluded": "✕ excluded by review",
    "empty": "data empty",
    "unreadable": "receipt unreadable",
    "none": "no receipt",
}
_DECISIONS = {
    "promoted": "Promoted",
    "rejected": "Rejected",
    "insufficient_evidence": "Not enough evidence",
    "rolled_back": "Rolled back",
}


class HistoryTooLarge(RuntimeError):
    """A page that mail programs and Dagster would refuse to show."""


def render_history(
    days: Sequence[HistoryDay],
    decisions: Sequence[HistoryDecision],
    *,
    dataset: str,
    out: Path,
    store: str = STORE,
) -> None:
    """Write the page to `out`, atomically; the same inputs give the same bytes.

    The newest MOST_DAYS days and MOST_DECISIONS decisions are shown. store: what the links to reports and review pages
    begin with, relative to the page or absolute, without a slash at its end. Everything else on the page is inline and
    escaped; it asks the network for nothing and needs no script. Raises HistoryTooLarge above 3 MB.
    """
    in_order = sorted(days, key=lambda day: day.day)
    shown = in_order[-MOST_DAYS:]
    newest = sorted(decisions, key=lambda decision: decision.decision_id, reverse=True)
    champions = reigns(decisions)[::-1]
    page = (
        _environment()
        .get_template("history.html.jinja")
        .render(
            dataset=dataset,
            store=store,
            days=shown[::-1],
            older_days=len(in_order) - len(shown),
            reigns=champions[:MOST_DECISIONS],
            decisions=newest[:MOST_DECISIONS],
            older_decisions=max(0, len(newest) - MOST_DECISIONS),
            model_names=_model_names(in_order),
            pictures=[(picture, Markup(picture.svg)) for picture in draw_history(shown)],
            tasks=TASKS,
            verdicts=VERDICTS,
            data_words=_DATA,
            decision_words=_DECISIONS,
        )
    )
    encoded = page.encode("utf-8")
    if len(encoded) > LARGEST_BYTES:
        raise HistoryTooLarge(
            f"the page across days has {len(encoded):,} bytes, {LARGEST_BYTES:,} are allowed; give fewer days"
        )
    with atomic_file(out) as unfinished:
        unfinished.write_bytes(encoded)


def _model_names(days: Sequence[HistoryDay]) -> dict[str, str]:
    """Names by model_id, for decisions, which know the id alone."""
    models = (model for day in days for model in (day.challenger, day.champion) if model is not None)
    return {model.model_id: model.model for model in models}


def _environment() -> Environment:
    environment = page_environment()
    environment.filters.update(
        {"value": wording.value, "moment": _moment, "sentences": _sentences, "bounds": _bounds, "decimal": _decimal}
    )
    return environment


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _sentences(text: str) -> list[str]:
    """The text's sentences; a full stop within a number or a name ends none."""
    return [part for part in re.split(r"(?<=[.;])\s+(?=[A-Z])", text.strip()) if part]


def _decimal(number: float | None, digits: int = 4) -> str:
    return "–" if number is None else f"{number:.{digits}f}"


def _bounds(estimate: Estimate, sign: str = "") -> str:
    if estimate.lower is None or estimate.upper is None:
        return ""
    return f"{estimate.lower:{sign}.4f} to {estimate.upper:{sign}.4f}"
