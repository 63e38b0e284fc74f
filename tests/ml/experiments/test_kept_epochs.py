"""What a table says of the epochs that its runs kept."""

from ml.experiments.definitions import Row
from ml.experiments.kept_epochs import kept_epoch_notes
from ml.models.configs.catalog import parse_model_config
from tests.ml.experiments.conftest import result_of


def noted(make_cell, **rows):
    """Notes of rows, each a model's settings and the epochs that its seeds kept."""
    planned, outcomes = [], {}
    for place, (label, (model, kept)) in enumerate(rows.items()):
        settings = parse_model_config(model).model_dump(mode="json")
        results = [
            result_of(make_cell(seed=100 * place + seed), kept_epoch=epoch).model_copy(update={"model": settings})
            for seed, epoch in enumerate(kept)
        ]
        outcomes |= {result.identity: result for result in results}
        planned.append((Row(label=label, model=model), [result.identity for result in results]))
    return kept_epoch_notes(planned, outcomes)


def test_each_rows_epochs_are_named(make_cell):
    notes = noted(make_cell, ESMM=({"name": "esmm"}, [1, 3]), MLP=({"name": "mlp"}, [2, 2]))
    assert notes == ("Epochs kept: ESMM 1 3; MLP 2 2.",)


def test_a_migrator_that_never_migrated_is_said(make_cell):
    notes = noted(make_cell, CSTWA=({"name": "cstwa"}, [1, 2, 1]))
    assert "In 2 of 3 runs with SM" in notes[1]


def test_a_migrator_that_begins_at_once_and_one_that_is_off_are_not(make_cell):
    notes = noted(
        make_cell,
        at_once=({"name": "cstwa", "first_migrating_epoch": 1}, [1]),
        off=({"name": "cstwa", "structure_migrator": False}, [1]),
    )
    assert len(notes) == 1


def test_results_of_a_version_that_did_not_say_add_no_note(make_cell):
    assert noted(make_cell, ESMM=({"name": "esmm"}, [None])) == ()
