"""The whole inspection of a trained bundle: what inspection.json says, the same bytes again, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ml.__main__ import main
from ml.bundle import SmokeTestFailed, load_bundle
from ml.data.batches import Batch, sequential_batches
from ml.data.encoding import encode_day
from ml.data.fields import FieldSpec
from ml.data.layout import FeatureLayout
from ml.evaluation.evaluated_day import Task
from ml.evaluation.measurement import Measured, NotMeasurable
from ml.evaluation.ranked_scores import RankedScores
from ml.inspection import inspection as module
from ml.inspection.inspection import inspect
from ml.inspection.record import Inspection
from ml.inspection_spec import InspectionSpec
from ml.models import esmm
from ml.models.configs.catalog import parse_model_config
from ml.models.factory import build_model
from ml.training import trainer
from ml.training.spec import TrainSpec
from ml.training.termination import Termination

FIRST_DAY = date(2026, 11, 1)
ROWS = 400

Specify = Callable[..., InspectionSpec]


@pytest.fixture
def specify(
    tmp_path: Path, listed_fields: tuple[FieldSpec, ...], write_samples: Callable[..., tuple[Path, str]]
) -> Specify:
    """specify(model="esmm", **changes): a bundle trained on one day, and how the next is inspected with it."""

    def make(model: str = "esmm", rows: int = ROWS, **changes: Any) -> InspectionSpec:
        samples, sha256 = write_samples(FIRST_DAY, 300, listed=True)
        common = {
            "fields": listed_fields,
            "user_key": "user",
            "item_key": "item",
            "epochs": 1,
            "min_count": 2,
            "as_of": FIRST_DAY + timedelta(days=1),
            "days": [{"day": FIRST_DAY, "samples": samples, "receipt_id": "r", "content_sha256": sha256}],
            "runtime": {"encoded_cache": tmp_path / "encoded"},
        }
        inputs = {"vocabulary_dir": tmp_path / "p" / "vocabulary", "vocabulary_version": "v"}
        for out, values in (
            (tmp_path / "p", {"task": "ctr_pretraining", "model": {"name": "ctr"}}),
            (tmp_path / model, {"task": "cvr", "model": {"name": model}, "inputs": inputs}),
        ):
            if not out.exists():
                out.mkdir()
                trainer.run(TrainSpec.model_validate({**common, **values}), out, Termination())
        judged, judged_sha256 = write_samples(FIRST_DAY + timedelta(days=1), rows, listed=True)
        values = {
            "bundle_dir": tmp_path / model / "bundle",
            "samples": judged,
            "content_sha256": judged_sha256,
            "embedding_table": tmp_path / "p" / "table.safetensors",
            "clusters": 3,
            "batch_size": 128,
            "encoded_cache": tmp_path / "encoded",
        }
        return InspectionSpec.model_validate({**values, **changes})

    return make


def _run(spec: InspectionSpec, tmp_path: Path) -> int:
    path = tmp_path / "spec.json"
    path.write_text(spec.model_dump_json())
    return main(["inspect", "--spec", str(path), "--out", str(tmp_path / "out")])


def test_the_file_says_what_was_found(specify: Specify, tmp_path: Path) -> None:
    spec = specify("mmoe")
    assert _run(spec, tmp_path) == 0
    found = Inspection.model_validate_json((tmp_path / "out" / "inspection.json").read_text())
    bundle = load_bundle(spec.bundle_dir)
    day = encode_day(samples=spec.samples, vocabulary=bundle.vocabulary(), out=tmp_path / "again")
    (batch,) = sequential_batches(day, ROWS)
    click, conversion = np.asarray(day.click), np.asarray(day.conversion)
    assert (found.model, found.model_id) == ("mmoe", bundle.manifest.model_id)
    assert (found.rows, found.clicks, found.conversions, found.repeats) == (ROWS, click.sum(), conversion.sum(), 2)
    answer, clicked = bundle.predict(batch), click == 1
    judged: tuple[tuple[Task, np.ndarray, np.ndarray], ...] = (
        ("ctr", click, answer.p_ctr),
        ("cvr", conversion[clicked], answer.p_cvr_uncalibrated[clicked]),
        ("ctcvr", conversion, answer.p_ctcvr_uncalibrated),
    )
    for task, labels, scores in judged:
        measured, expected = found.aucs[task], RankedScores(labels=labels, scores=scores).auc()
        assert isinstance(measured, Measured)
        assert isinstance(expected, Measured)
        assert measured.value == pytest.approx(expected.value, abs=1e-4)
    names = ["user", "age", "item", "brand", "price", "hour", "history", "tags"]
    assert [each.field for each in found.importance] == names
    assert all(set(each.losses) == set(each.spreads) == {"ctr", "cvr", "ctcvr"} for each in found.importance)
    with torch.inference_mode():
        expected = bundle.model.measures(bundle.model(batch), batch)
    assert found.measures == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-4)
    assert found.notes[0] == "400 rows, all of the day's."
    assert any("before calibration" in note for note in found.notes)


def test_the_same_inputs_give_the_same_bytes(specify: Specify, tmp_path: Path) -> None:
    spec = specify(max_rows=250)
    for out in ("one", "two"):
        inspect(spec, tmp_path / out)
    assert (tmp_path / "one" / "inspection.json").read_bytes() == (tmp_path / "two" / "inspection.json").read_bytes()
    other = inspect(spec.model_copy(update={"seed": 1}), tmp_path / "three")
    assert other.rows == 250
    assert other.importance != inspect(spec, tmp_path / "one").importance


def test_tables_are_named_and_values_counted(specify: Specify, tmp_path: Path) -> None:
    own = inspect(specify("mlp"), tmp_path / "a")
    shared = inspect(specify("esmm"), tmp_path / "b")
    none = inspect(specify("esmm", embedding_table=None), tmp_path / "c")
    assert [space.table for space in own.clusters[0].spaces] == ["model's CTR table", "model's CVR table"]
    assert [space.table for space in shared.clusters[0].spaces] == ["pre-trained CTR table", "shared table"]
    assert none.clusters == ()
    assert "CTR and CVR share one table, and no pre-trained CTR table was given" in " ".join(none.notes)
    assert [(each.side, each.field) for each in own.clusters] == [("user", "user"), ("item", "item")]
    few = inspect(specify("mlp", max_values=10), tmp_path / "d")
    assert [each.values for each in few.clusters] == [10, 10]


def test_the_most_frequent_values_are_clustered_and_unknown_ones_left_out(
    specify: Specify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, seen = specify("mlp", max_values=10), {}

    def watch(vectors: dict, *, side: str, **_: object) -> None:
        seen[side] = vectors

    monkeypatch.setattr(module, "cluster_embeddings", watch)
    found = inspect(spec, tmp_path / "out")
    assert found.clusters == ()
    assert "No clusters of user: 10 values in the rows, 6 are needed." in found.notes
    bundle = load_bundle(spec.bundle_dir)
    day = encode_day(samples=spec.samples, vocabulary=bundle.vocabulary(), out=tmp_path / "again")
    layout = bundle.manifest.layout
    for side, name in (("user", "user"), ("item", "item")):
        column = layout.columns[layout.index(name)]
        rows = [int(row) for row in day.features[:, layout.index(name)] if row != column.offset]
        frequent = sorted(set(rows), key=lambda row: (-rows.count(row), row))[:10]
        for task in ("ctr", "cvr"):
            table = bundle.model.state_dict()[f"{task}_embedding.table.weight"]
            np.testing.assert_array_equal(seen[side][task].values, table[frequent].numpy())


def test_measures_that_are_not_finite_are_left_out_and_named(
    specify: Specify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"fine": torch.tensor(2.0), "broken": torch.tensor(float("nan")), "endless": torch.tensor(float("inf"))}
    monkeypatch.setattr(esmm.Model, "measures", lambda *_: answer)
    found = inspect(specify(), tmp_path / "out")
    assert found.measures == {"fine": 2.0}
    assert "Not finite, so left out: broken, endless." in found.notes


def test_measures_are_of_the_answer_before_the_correction_for_sampled_negatives(
    layout: FeatureLayout, make_batch: Callable[..., Batch]
) -> None:
    """As validation takes them: CE's thresholds are over uncorrected predictions."""
    torch.manual_seed(0)
    values = {"name": "cstwa", "embedding_std": 1.0, "structure_migrator": False, "recent_predictions": 50}
    model, batch = build_model(parse_model_config(values), layout), make_batch(200)
    model.negatives_kept = 0.1
    model.loss(model(batch), batch)
    model.eval()
    with torch.inference_mode():
        expected = {name: value.item() for name, value in model.measures(model(batch), batch).items()}
        corrected = model.measures(model.predict(batch), batch)["curse_escaper.mean_weight"].item()
    assert abs(expected["curse_escaper.mean_weight"] - corrected) > 0.01
    assert module._measures(model, batch, 64)[0] == pytest.approx(expected, rel=1e-5)


def test_embeddings_that_are_not_finite_are_named(layout: FeatureLayout, make_batch: Callable[..., Batch]) -> None:
    model = build_model(parse_model_config({"name": "mlp"}), layout)
    with torch.no_grad():
        model.embedding_spaces()["cvr"][layout.columns[0].offset + 1] = float("nan")
    spec = InspectionSpec(bundle_dir=Path(), samples=Path(), content_sha256="-", encoded_cache=Path(), clusters=2)
    tables, _ = module._tables(model, None)
    clusters, notes = module._clusters(model, make_batch(200), tables, spec)
    assert clusters == ()
    assert notes == [
        "No clusters of user: embeddings that are not finite in the model's CVR table.",
        "No clusters of item: 5 values in the rows, 6 are needed.",
    ]


def test_a_day_with_few_conversions_says_how_it_was_sampled(specify: Specify, tmp_path: Path) -> None:
    found = inspect(specify(max_rows=100), tmp_path / "out")
    assert found.rows == 100
    assert found.clicks == 90
    assert "importance is measured on 90 clicked rows" in found.notes[0]
    assert "100 rows drawn uniformly from the day's 400" in found.notes[0]


def test_a_day_without_rows_is_inspected(specify: Specify, tmp_path: Path) -> None:
    found = inspect(specify(rows=0), tmp_path / "out")
    assert (found.rows, found.measures, found.clusters) == (0, {}, ())
    assert len(found.aucs) == 3
    assert all(auc == NotMeasurable(reason="0 rows") for auc in found.aucs.values())
    assert "NaN" not in (tmp_path / "out" / "inspection.json").read_text()


def test_a_field_of_one_value_is_named(layout: FeatureLayout, make_batch: Callable[..., Batch]) -> None:
    batch = make_batch(50)
    assert list(module._of_constants(layout, batch)) == []
    batch.features[:, 1] = batch.features[0, 1]
    note = "The same value in every row, so that shuffling changes nothing: age."
    assert list(module._of_constants(layout, batch)) == [note]


def test_what_cannot_be_trusted_is_refused(
    specify: Specify, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = specify()
    table = load_file(str(spec.embedding_table))["table"]
    for tensors, message in (
        ({"table": table[:-1].clone()}, "was pre-trained with it"),
        ({"weights": table}, "expected a tensor 'table'"),
    ):
        save_file(tensors, tmp_path / "other.safetensors")
        assert _run(spec.model_copy(update={"embedding_table": tmp_path / "other.safetensors"}), tmp_path) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "other.safetensors").write_bytes(b"no table")
    assert _run(spec.model_copy(update={"embedding_table": tmp_path / "other.safetensors"}), tmp_path) == 2
    assert "is no safetensors file" in capsys.readouterr().err
    assert _run(spec.model_copy(update={"embedding_table": tmp_path / "absent"}), tmp_path) == 2

    def fail(_: object) -> None:
        raise SmokeTestFailed("scores its frozen batch otherwise")

    with monkeypatch.context() as patched:
        patched.setattr(module, "smoke_test", fail)
        assert _run(spec, tmp_path) == 1
    metrics = spec.bundle_dir / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + "\n")
    assert _run(spec, tmp_path) == 2
    assert "copy the bundle again" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_a_wrong_spec_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"max_rows": 3}))
    assert main(["inspect", "--spec", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]) == 2
    assert "max_rows: Input should be greater than or equal to 100; got 3" in capsys.readouterr().err
