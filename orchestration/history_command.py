"""The command `postclick history`: writes the page across days anew and prints its newest days; it decides nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.model_history import publish_history, write_page
from ml.report.history_day import VERDICTS, HistoryDay, ModelNumbers, TaskNumbers
from orchestration.build import build_platform
from orchestration.dataset_option import DatasetOption, open_dataset

_PLAIN_WIDTH = 160
_RED = ("rejected", "data_refused", "unreadable", "not_carried_out")
#: A data state that says nothing more than that all is well, or that there is none.
_QUIET = {
    "admitted": "admitted",
    "none": "no receipt",
    "accepted": "accepted by review",
    "excluded": "excluded by review",
}


def history(
    dataset: DatasetOption = None,
    last: Annotated[int, typer.Option(min=1, help="Days that the table shows, the newest.")] = 14,
    out: Annotated[Path | None, typer.Option(help="Write the page to this file instead of the store.")] = None,
) -> None:
    """Write the page across days anew: champions, decisions, metrics over time; print where it is, and the newest days.

    Exit codes: 0 written, 1 a fault, 2 wrong arguments.
    """
    settings, spec = open_dataset(dataset)
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{out} is no place for a file: give the path of one in a folder that exists")
    platform = build_platform(settings, spec)
    written = publish_history(platform, spec) if out is None else write_page(platform, spec, out.absolute())
    console = Console()
    console = console if console.is_terminal else Console(width=_PLAIN_WIDTH)
    print_history(console, written.days[-last:])
    console.print(f"page: {written.path}", soft_wrap=True, highlight=False, markup=False)


def print_history(console: Console, days: Sequence[HistoryDay]) -> None:
    """Days as a table, the newest last, as everywhere on the command line."""
    table = Table(title="History", title_justify="left")
    numbers = ("CTCVR AUC", "interval", "champion's", "PCOC", "conversions")
    for name in ("as of", "verdict", "model", *numbers, "data", "why"):
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=name == "as of")
    for day in days:
        table.add_row(
            day.day.isoformat(),
            VERDICTS[day.verdict],
            day.challenger.model if day.challenger else "–",
            *_numbers(day),
            _QUIET.get(day.data, day.data),
            escape(_why(day)),
            style="red" if day.verdict in _RED else "dim" if day.verdict == "not_run" else None,
        )
    console.print(table)


def _numbers(day: HistoryDay) -> tuple[str, ...]:
    ours, theirs = _ctcvr(day.challenger), _ctcvr(day.champion)
    auc = ours.auc if ours else None
    bounds = "–" if auc is None or auc.lower is None else f"{auc.lower:.4f} .. {auc.upper:.4f}"
    return (
        f"{auc.value:.4f}" if auc else "–",
        bounds,
        f"{theirs.auc.value:.4f}" if theirs and theirs.auc else "–",
        f"{ours.pcoc:.3f}" if ours and ours.pcoc is not None else "–",
        "–" if day.conversions is None else f"{day.conversions:,}",
    )


def _ctcvr(model: ModelNumbers | None) -> TaskNumbers | None:
    return model.tasks.get("ctcvr") if model else None


def _why(day: HistoryDay) -> str:
    doubtful = day.data_why if day.data not in ("admitted", "none") else ""
    first = day.reasons[0] if day.reasons and day.verdict != "promoted" else ""
    return " ".join(filter(None, (day.note, doubtful, first)))
