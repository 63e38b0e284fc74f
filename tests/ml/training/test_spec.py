"""The training spec: what is refused, and what its identity depends on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ml.training import spec as spec_module
from ml.training.spec import TrainSpec

VOCABULARY = {"vocabulary_dir": "/somewhere/vocabulary", "vocabulary_version": "v1"}
GRAPHS = {
    "user_graph_dir": "/somewhere/user",
    "user_graph_version": "g1",
    "item_graph_dir": "/somewhere/item",
    "item_graph_version": "g2",
}


def _changed(spec: TrainSpec, **changes: Any) -> TrainSpec:
    return TrainSpec.model_validate({**spec.model_dump(), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "esmm"}}, "is for task 'cvr', the spec's is 'ctr_pretraining'"),
        ({"days": ()}, "holds no admitted day"),
        ({"as_of": "2026-11-03"}, "the judged day is never trained on"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"weight_decay": 0.1}, "weight_decay 0.1 is adamw's"),
        ({"validation_share": 1.0}, "less than 1"),
        ({"epoch": 3}, "epoch"),
        ({"inputs": {"vocabulary_dir": "/x"}}, "give both or neither"),
        ({"calibration": "sigmoid"}, "calibration"),
        ({"calibration_field": "moon"}, "'moon' is no field with one value a sample; use one of \\['user'"),
        ({"calibration_field": "history"}, "'history' is no field with one value"),
    ],
)
def test_a_contradicting_spec_is_refused(
    make_spec: Callable[..., TrainSpec], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        _changed(make_spec(), **changes)


def test_days_must_be_distinct_and_oldest_first(make_spec: Callable[..., TrainSpec]) -> None:
    spec = make_spec()
    with pytest.raises(ValidationError, match="oldest first"):
        _changed(spec, days=spec.days[::-1])
    with pytest.raises(ValidationError, match="distinct"):
        _changed(spec, days=(spec.days[0], spec.days[0]))


def test_missing_inputs_are_refused(make_spec: Callable[..., TrainSpec]) -> None:
    with pytest.raises(ValidationError, match="vocabulary_dir is missing"):
        make_spec(task="cvr")
    with pytest.raises(ValidationError, match="user_graph_dir"):
        make_spec(task="cvr", model={"name": "cstwa"}, inputs=VOCABULARY)
    with pytest.raises(ValidationError, match="embedding_table"):
        make_spec(task="cvr", model={"name": "cstwa", "warm_start_ctr": True}, inputs={**VOCABULARY, **GRAPHS})


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"epochs": 3},
        {"batch_size": 65},
        {"learning_rate": 0.01},
        {"l2": 0.0},
        {"patience": 2},
        {"validation_share": 0.2},
        {"min_count": 3},
        {"as_of": "2026-11-09"},
        {"model": {"name": "mlp"}},
        {"model": {"name": "esmm", "embedding_size": 6}},
        {"inputs": {**VOCABULARY, "vocabulary_version": "v2"}},
    ],
)
def test_what_determines_the_weights_changes_the_identity(
    make_spec: Callable[..., TrainSpec], changes: dict[str, Any]
) -> None:
    spec = make_spec(task="cvr", inputs=VOCABULARY)
    assert _changed(spec, **changes).identity() != spec.identity()


def test_a_restated_day_changes_the_identity(make_spec: Callable[..., TrainSpec]) -> None:
    spec = make_spec()
    for key in ("receipt_id", "content_sha256"):
        restated = spec.days[1].model_copy(update={key: "restated"})
        assert _changed(spec, days=(spec.days[0], restated, spec.days[2])).identity() != spec.identity()
    assert _changed(spec, days=spec.days[1:]).identity() != spec.identity()


def test_paths_runtime_and_unread_graphs_do_not_change_the_identity(make_spec: Callable[..., TrainSpec]) -> None:
    spec = make_spec(task="cvr", inputs=VOCABULARY)
    elsewhere = [day.model_copy(update={"samples": Path("/elsewhere")}) for day in spec.days]
    same = _changed(
        spec,
        days=elsewhere,
        inputs={**VOCABULARY, **GRAPHS, "vocabulary_dir": "/elsewhere"},
        runtime={"threads": 7, "device": "cuda", "encoded_cache": "/elsewhere", "progress_seconds": 9},
    )
    assert same.identity() == spec.identity()


def test_code_and_graphs_that_are_read_change_the_identity(
    make_spec: Callable[..., TrainSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(task="cvr", model={"name": "cstwa"}, inputs={**VOCABULARY, **GRAPHS})
    other = _changed(spec, inputs={**VOCABULARY, **GRAPHS, "item_graph_version": "g3"})
    identity = spec.identity()
    assert other.identity() != identity
    monkeypatch.setattr(spec_module, "code_version", lambda: "other code")
    assert spec.identity() != identity


def test_a_spec_survives_json(make_spec: Callable[..., TrainSpec]) -> None:
    spec = make_spec(task="cvr", model={"name": "cstwa", "refresh": "batch"}, inputs={**VOCABULARY, **GRAPHS})
    assert TrainSpec.model_validate_json(spec.model_dump_json()) == spec


def test_calibration_makes_another_model_but_no_other_pretraining(make_spec: Callable[..., TrainSpec]) -> None:
    plain = make_spec()
    for changes in ({"calibration": "platt"}, {"calibration_field": "hour"}):
        assert _changed(plain, **changes).identity() == plain.identity()
    model = make_spec(task="cvr", inputs=VOCABULARY)
    by_field = {"calibration_field": "hour"}
    assert _changed(model, calibration="platt").identity() != model.identity()
    assert _changed(model, **by_field).identity() != model.identity()
    platt = _changed(model, calibration="platt")
    assert _changed(platt, **by_field).identity() == platt.identity()
