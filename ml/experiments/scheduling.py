"""Runs the cells that are not finished, as many at once as the cores allow; what running one means is the caller's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml.experiments.cells import Cell, CellFailure, CellOutcome, CellResult, finished

Stop = Callable[[], bool]
RunCell = Callable[[Cell, Path, Stop], CellResult]


class CoreBudget(BaseModel):
    """How many cores an experiment may use, and how many threads a cell: processes × threads ≤ cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: int = Field(ge=1, le=4096)
    threads: int = Field(default=1, ge=1, le=1024)

    @model_validator(mode="after")
    def _holds_a_cell(self) -> Self:
        if self.threads > self.cores:
            raise ValueError(f"a cell's {self.threads} threads are more than the {self.cores} cores: give it fewer")
        return self

    @property
    def processes(self) -> int:
        """Cells at once."""
        return self.cores // self.threads


def run_cells(
    cells: Sequence[Cell],
    *,
    out: Path,
    budget: CoreBudget,
    run: RunCell,
    tell: Callable[[str], None],
    ended: Callable[[Cell], None] = lambda _: None,
) -> dict[str, CellOutcome]:
    """Every cell's outcome by identity; cells that are the same are run once, finished ones not again.

    A fault in a cell is written down as its failure, and the others go on. ended: called with each cell that was run,
    when its outcome is in its folder. Where the caller is interrupted, `run`'s third argument turns true, nothing new
    is begun, and the interruption goes on when what was running has ended.
    """
    outcomes: dict[str, CellOutcome] = {}
    waiting: dict[str, Cell] = {}
    for cell in cells:
        known = finished(cell, out / cell.run_path)
        if known is None:
            waiting[cell.identity] = cell
        else:
            outcomes[cell.identity] = known
    tell(f"{len(waiting)} cells to run, {len(outcomes)} are finished; {budget.processes} at once")
    stopping = threading.Event()
    with ThreadPoolExecutor(max_workers=budget.processes, thread_name_prefix="cell") as workers:
        futures = [workers.submit(_run_one, cell, out, run, stopping) for cell in waiting.values()]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                cell, outcome = future.result()
                outcomes[cell.identity] = outcome
                ended(cell)
                said = "done" if isinstance(outcome, CellResult) else f"FAILED: {outcome.reason.splitlines()[0]}"
                tell(f"[{done}/{len(futures)}] {cell.name}: {said}")
        except BaseException:
            stopping.set()
            _cancel(futures)
            raise
    return outcomes


def _run_one(cell: Cell, out: Path, run: RunCell, stopping: threading.Event) -> tuple[Cell, CellOutcome]:
    folder = out / cell.run_path
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = run(cell, folder, stopping.is_set)
    except Exception as fault:
        failure = CellFailure(identity=cell.identity, reason=str(fault) or type(fault).__name__)
        failure.save(folder)
        return cell, failure
    result.save(folder)
    return cell, result


def _cancel(futures: Sequence[Future[tuple[Cell, CellOutcome]]]) -> None:
    for future in futures:
        future.cancel()
