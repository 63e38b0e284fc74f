"""Which epochs an experiment's runs kept, and what that means for a part that begins to work after the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ml.experiments.cells import CellOutcome, CellResult
from ml.experiments.definitions import Row


def kept_epoch_notes(rows: Sequence[tuple[Row, Sequence[str]]], outcomes: Mapping[str, CellOutcome]) -> tuple[str, ...]:
    """Sentences for the table's notes, from each row and the identities of its cells.

    CSTWA's structure migrator works from `first_migrating_epoch` on. Where the kept weights are of an epoch before, the
    row with it and the row without it are one model: an ablation must say so, or it measures noise.
    """
    results = [
        (row, [found for identity in identities if isinstance(found := outcomes[identity], CellResult)])
        for row, identities in rows
    ]
    kept = [result.kept_epoch for _, of_row in results for result in of_row if result.kept_epoch is not None]
    if not kept:
        return ()
    notes = [
        "Epochs kept: "
        + "; ".join(
            f"{row.label} {' '.join(str(result.kept_epoch or '–') for result in of_row)}"
            for row, of_row in results
            if of_row
        )
        + "."
    ]
    migrating = [result for _, of_row in results for result in of_row if result.model.get("structure_migrator")]
    idle = [each for each in migrating if (each.kept_epoch or 1) < each.model["first_migrating_epoch"]]
    if idle:
        notes.append(
            f"In {len(idle)} of {len(migrating)} runs with SM the kept epoch comes before the one from which SM "
            "migrates: there it did nothing, and a difference to the row without it is chance."
        )
    return tuple(notes)
