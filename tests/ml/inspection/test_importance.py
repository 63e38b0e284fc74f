"""Permutation importance against a loop, on models that read one field, and on samples that prefer clicked rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ml.data.batches import Batch
from ml.data.encoded_day import EncodedDay
from ml.evaluation.evaluated_day import Task
from ml.evaluation.measurement import Measured, Measurement, NotMeasurable
from ml.inspection.day_sample import rows_of, sample_rows
from ml.inspection.importance import Population, aucs, field_importance, field_names, populations
from ml.inspection.record import FieldImportance
from ml.models.contract import ConversionModel

ROWS = 600


def _value(measurement: Measurement) -> float:
    assert isinstance(measurement, Measured)
    return measurement.value


def _slow_auc(labels: list[float], scores: list[float], weights: list[float] | None = None) -> float:
    won = total = 0.0
    for label, score in zip(labels, scores, strict=True):
        for place, (other, against) in enumerate(zip(labels, scores, strict=True)):
            if label > 0 and other == 0:
                weight = weights[place] if weights else 1.0
                won += weight * ((score > against) + (score == against) / 2)
                total += weight
    return won / total


def _importance(
    model: ConversionModel, judged: tuple[Population, ...], *, repeats: int = 2, seed: int = 0
) -> dict[str, FieldImportance]:
    unshuffled = {}
    for population in judged:
        unshuffled |= aucs(model, population, batch_size=100)
    found = field_importance(model, judged, unshuffled, repeats=repeats, seed=seed, batch_size=100)
    return {each.field: each for each in found}


@pytest.fixture
def samples(make_listed_batch: Callable[..., Batch]) -> Batch:
    """Clicks are decided by the user, conversions of clicked rows by the item."""
    batch = make_listed_batch(ROWS)
    user, item = batch.features[:, 0], batch.features[:, 2]
    click = (user > user.median()).float()
    return dataclasses.replace(batch, click=click, conversion=click * (item > item.median()).float(), stages={})


def test_losses_agree_with_a_loop_over_shuffled_copies(
    telling_model: Callable[..., ConversionModel], samples: Batch
) -> None:
    model = telling_model()
    found = _importance(model, populations(samples, samples, clicked_negatives=None), repeats=3, seed=5)
    clicked = [row for row in range(ROWS) if samples.click[row] == 1]
    for place, (name, column) in enumerate([("user", 0), ("age", 1), ("item", 2)]):
        by_rows: list[tuple[list[int], tuple[Task, ...]]] = [(list(range(ROWS)), ("ctr", "ctcvr")), (clicked, ("cvr",))]
        for which, (rows, tasks) in enumerate(by_rows):
            lost: dict[str, list[float]] = {task: [] for task in tasks}
            for repeat in range(3):
                order = np.random.default_rng([5, 3, which, place, repeat]).permutation(len(rows))
                changed = samples.features[rows].clone()
                for to, taken in enumerate(order):
                    changed[to, column] = samples.features[rows[taken], column]
                for task in tasks:
                    label = (samples.click if task == "ctr" else samples.conversion)[rows].tolist()
                    before, after = (_scores(model, samples, rows, f, task) for f in (samples.features[rows], changed))
                    lost[task].append(_slow_auc(label, before) - _slow_auc(label, after))
            for task in tasks:
                assert _value(found[name].losses[task]) == pytest.approx(np.mean(lost[task]), abs=1e-9)
                assert found[name].spreads[task] == pytest.approx(np.std(lost[task], ddof=1), abs=1e-9)


def _scores(model: ConversionModel, samples: Batch, rows: list[int], features: torch.Tensor, task: str) -> list[float]:
    sequences = {name: ids[rows] for name, ids in samples.sequences.items()}
    answer = model.predict(dataclasses.replace(samples, features=features, sequences=sequences))
    return {"ctr": answer.ctr_logit, "cvr": answer.log_cvr, "ctcvr": answer.log_ctcvr}[task].tolist()


def test_the_field_that_decides_gets_all_of_the_loss_and_noise_none(
    telling_model: Callable[..., ConversionModel], samples: Batch
) -> None:
    found = _importance(telling_model(), populations(samples, samples, clicked_negatives=None))
    assert _value(found["user"].losses["ctr"]) == pytest.approx(0.5, abs=0.06)
    assert _value(found["item"].losses["cvr"]) == pytest.approx(0.5, abs=0.06)
    assert _value(found["item"].losses["ctr"]) == 0
    for noise in ("age", "brand", "hour", "history", "tags"):
        assert all(_value(loss) == 0 for loss in found[noise].losses.values()), noise
    # Among the clicked, half of the users are left, and the model's p_cvr does not read them.
    assert _value(found["user"].losses["cvr"]) == 0


@pytest.mark.parametrize("name", ["history", "tags"])
def test_a_sequence_is_shuffled_as_a_whole_with_its_weights(
    telling_model: Callable[..., ConversionModel], samples: Batch, name: str
) -> None:
    seen: list[Batch] = []
    model = telling_model(clicks_by=name)
    judged = Population(samples, samples, ("ctr",))

    def watch(_: object, batches: tuple[Batch, ...]) -> None:
        seen.append(batches[0])

    unshuffled = aucs(model, judged, batch_size=ROWS)
    model.register_forward_pre_hook(watch)
    unmeasured = NotMeasurable(reason="not of interest here")
    field_importance(
        model,
        (judged, Population(samples, samples, ("cvr", "ctcvr"))),
        {**unshuffled, "cvr": unmeasured, "ctcvr": unmeasured},
        repeats=1,
        seed=0,
        batch_size=ROWS,
    )
    place = field_names(model.layout).index(name)
    assert len(seen) == len(field_names(model.layout))
    assert torch.equal(seen[place].features, samples.features)
    lists = list(zip(seen[place].sequences[name].tolist(), _weights(seen[place], name), strict=True))
    before = list(zip(samples.sequences[name].tolist(), _weights(samples, name), strict=True))
    assert lists != before
    assert sorted(lists) == sorted(before)
    other = "tags" if name == "history" else "history"
    assert torch.equal(seen[place].sequences[other], samples.sequences[other])
    # The column that the history's rows belong to is shuffled alone.
    assert torch.equal(seen[2].sequences["history"], samples.sequences["history"])
    assert not torch.equal(seen[2].features[:, 2], samples.features[:, 2])


def _weights(batch: Batch, name: str) -> list[list[float]]:
    return batch.sequence_weights[name].tolist() if name in batch.sequence_weights else [[]] * len(batch)


def test_cvr_is_shuffled_among_the_clicked(telling_model: Callable[..., ConversionModel], samples: Batch) -> None:
    """A field that says only who clicks has one value among the clicked: it says nothing about conversion."""
    column = samples.features.clone()
    column[:, 4] = 14 + 4 * samples.click.long()
    told = dataclasses.replace(samples, features=column)
    found = _importance(telling_model(converts_by="hour"), populations(told, told, clicked_negatives=None), repeats=1)
    assert _value(found["hour"].losses["cvr"]) == 0
    assert _value(found["hour"].losses["ctcvr"]) > 0


def test_what_cannot_be_measured_says_why(telling_model: Callable[..., ConversionModel], samples: Batch) -> None:
    none = torch.zeros(ROWS)
    unclicked = dataclasses.replace(samples, click=none, conversion=none)
    found = _importance(telling_model(), populations(unclicked, unclicked, clicked_negatives=None))
    assert found["user"].losses == {
        "ctr": NotMeasurable(reason="0 clicks in 600 rows"),
        "cvr": NotMeasurable(reason="0 rows"),
        "ctcvr": NotMeasurable(reason="0 conversions in 600 rows"),
    }
    assert found["user"].spreads == {}


def test_one_repeat_has_no_spread_and_seeds_differ(
    telling_model: Callable[..., ConversionModel], samples: Batch
) -> None:
    judged = populations(samples, samples, clicked_negatives=None)
    once, again, other = (_importance(telling_model(), judged, repeats=1, seed=seed) for seed in (1, 1, 2))
    assert once == again
    assert once["user"].spreads == {"ctr": 0.0, "cvr": 0.0, "ctcvr": 0.0}
    assert once["user"].losses != other["user"].losses


def test_rows_that_prefer_clicked_ones_give_the_days_aucs(
    make_day: Callable[..., EncodedDay], telling_model: Callable[..., ConversionModel]
) -> None:
    day, model = make_day(3000, click_rate=0.15, conversion_rate=0.3), telling_model()
    whole = rows_of(day, np.arange(day.rows))
    expected = {}
    for population in populations(whole, whole, clicked_negatives=None):
        expected |= {task: _value(auc) for task, auc in aucs(model, population, batch_size=1000).items()}
    means: dict[str, list[float]] = {"ctr": [], "cvr": [], "ctcvr": []}
    unweighted = []
    for seed in range(40):
        sample = sample_rows(day, rows=700, seed=seed)
        assert sample.enriched
        rows, donors = rows_of(day, sample.judged), rows_of(day, sample.uniform)
        for population in populations(rows, donors, clicked_negatives=sample.clicked_negatives):
            for task, auc in aucs(model, population, batch_size=1000).items():
                means[task].append(_value(auc))
        unweighted.append(_value(aucs(model, Population(rows, rows, ("ctcvr",)), batch_size=1000)["ctcvr"]))
    for task, values in means.items():
        assert np.mean(values) == pytest.approx(expected[task], abs=0.005), task
    assert abs(np.mean(unweighted) - expected["ctcvr"]) > 0.01


def test_weighted_negatives_agree_with_a_loop(
    make_day: Callable[..., EncodedDay], telling_model: Callable[..., ConversionModel]
) -> None:
    day, model = make_day(1000, click_rate=0.3, conversion_rate=0.3), telling_model()
    rows = rows_of(day, np.sort(np.random.default_rng(0).choice(1000, 300, replace=False)))
    share = 0.05
    answer = aucs(model, populations(rows, rows, clicked_negatives=share)[0], batch_size=64)["ctcvr"]
    clicks, sold = rows.click.tolist(), rows.conversion.tolist()
    clicked = sum(click == 1 and not label for click, label in zip(clicks, sold, strict=True))
    others = sum(click == 0 for click in clicks)
    weights = [share / clicked if click else (1 - share) / others for click in clicks]
    scores = model.predict(rows).log_ctcvr.double().tolist()
    assert _value(answer) == pytest.approx(_slow_auc(sold, scores, weights), abs=1e-9)


def test_impressions_take_values_from_their_donors(
    telling_model: Callable[..., ConversionModel], samples: Batch
) -> None:
    donors = dataclasses.replace(samples, features=samples.features[:1].expand(ROWS, -1))
    rows = Population(samples, donors, ("ctr", "ctcvr"))
    found = _importance(telling_model(), (rows, populations(samples, samples, clicked_negatives=None)[1]))
    # One user for all: the AUC is chance.
    assert _value(found["user"].losses["ctr"]) == pytest.approx(0.5)
    assert found["user"].spreads["ctr"] == 0
