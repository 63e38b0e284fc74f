"""Permutation importance of a model's fields: the AUC that is lost when one of them says nothing any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ml.data.batch import Batch
from ml.data.layout import FeatureLayout
from ml.evaluation.evaluated_day import OUTCOMES, TASKS, Task
from ml.evaluation.measurement import FloatArray, Measured, Measurement, NotMeasurable
from ml.evaluation.ranked_scores import RankedScores
from ml.inspection.day_sample import part_of
from ml.inspection.record import FieldImportance
from ml.models.contract import ConversionModel

Aucs = dict[Task, Measurement]


@dataclass(frozen=True, eq=False)
class Population:
    """Rows that ``tasks`` are judged on, and as many whose values a shuffled field takes: the same ones in another
    order, or where ``rows`` prefers clicked rows, a uniform sample, so that a shuffled field has the distribution that
    it has among the day's impressions.

    ``clicked_negatives``: the share of clicked rows among unconverted ones for CTCVR; None: that of ``rows``.
    """

    rows: Batch
    donors: Batch
    tasks: tuple[Task, ...]
    clicked_negatives: float | None = None


def populations(rows: Batch, donors: Batch, *, clicked_negatives: float | None) -> tuple[Population, Population]:
    """Impressions for CTR and CTCVR, and the clicked ones of ``rows`` for CVR.

    CVR's fields are shuffled among the clicked rows alone: an importance is about the distribution that the metric is
    taken over. Values of unclicked rows would also show how the model does on values that are seldom clicked, and
    a field would matter by what it tells of the click.
    """
    clicked = part_of(rows, rows.click == 1)
    return (
        Population(rows, donors, ("ctr", "ctcvr"), clicked_negatives),
        Population(clicked, clicked, ("cvr",)),
    )


def aucs(model: ConversionModel, population: Population, *, batch_size: int) -> Aucs:
    """AUC of each of the population's tasks, by the model's own scores (before calibration) of ``rows``."""
    return _aucs(model, population, population.rows, batch_size)


def field_importance(
    model: ConversionModel,
    judged: tuple[Population, ...],
    unshuffled: Mapping[Task, Measurement],
    *,
    repeats: int,
    seed: int,
    batch_size: int,
) -> tuple[FieldImportance, ...]:
    """Every field's importance (Breiman 2001, section 10), in the layout's order; the model is in evaluation mode.

    ``unshuffled``: ``aucs`` of all populations. A field is a column, or a sequence, whose lists change rows as a whole
    with their weights. Each is shuffled alone: a column that is also the ``of`` of a sequence leaves the sequence as
    it is. What two fields both tell is therefore lost by neither. Same ``seed``, same answer.
    """
    found: list[FieldImportance] = []
    for place, name in enumerate(field_names(model.layout)):
        losses: dict[Task, Measurement] = {}
        spreads: dict[Task, float] = {}
        for which, population in enumerate(judged):
            measurable = any(isinstance(unshuffled[task], Measured) for task in population.tasks)
            answers = [
                _aucs(model, population, _shuffled(population, model.layout, name, random), batch_size)
                for random in (np.random.default_rng([seed, 3, which, place, repeat]) for repeat in range(repeats))
                if measurable
            ]
            for task in population.tasks:
                losses[task], spread = _lost(unshuffled[task], [answer[task] for answer in answers])
                spreads |= {} if spread is None else {task: spread}
        found.append(FieldImportance(field=name, losses={task: losses[task] for task in TASKS}, spreads=spreads))
    return tuple(found)


def field_names(layout: FeatureLayout) -> tuple[str, ...]:
    """All that is shuffled: columns, then sequences."""
    return (*(column.name for column in layout.columns), *(sequence.name for sequence in layout.sequences))


def _lost(unshuffled: Measurement, shuffled: Sequence[Measurement]) -> tuple[Measurement, float | None]:
    """Mean loss over the repeats and its standard deviation; or why there is none."""
    together = (unshuffled, *shuffled)
    for auc in together:
        if isinstance(auc, NotMeasurable):
            return auc, None
    whole, *rest = (auc.value for auc in together if isinstance(auc, Measured))
    values = [whole - value for value in rest]
    return Measured(value=float(np.mean(values))), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _shuffled(population: Population, layout: FeatureLayout, name: str, random: np.random.Generator) -> Batch:
    """The population's rows with the field ``name`` of its donors in random order."""
    rows, donors = population.rows, population.donors
    order = torch.from_numpy(random.permutation(len(donors)))
    if name in rows.sequences:
        weights = dict(rows.sequence_weights)
        if name in weights:
            weights[name] = donors.sequence_weights[name][order]
        sequences = {**rows.sequences, name: donors.sequences[name][order]}
        return replace(rows, sequences=sequences, sequence_weights=weights)
    features = rows.features.clone()
    column = layout.index(name)
    features[:, column] = donors.features[order, column]
    return replace(rows, features=features)


def _aucs(model: ConversionModel, population: Population, batch: Batch, batch_size: int) -> Aucs:
    scores = _scores(model, batch, batch_size)
    click, conversion = batch.click.numpy() == 1, batch.conversion.numpy() > 0
    answers: Aucs = {}
    for task in population.tasks:
        if task == "ctcvr" and population.clicked_negatives is not None:
            answers[task] = _weighted_auc(scores[task], click, conversion, population.clicked_negatives)
        else:
            labels = click if task == "ctr" else conversion
            answers[task] = RankedScores(labels=labels, scores=scores[task], outcome=OUTCOMES[task]).auc()
    return answers


def _weighted_auc(scores: FloatArray, click: np.ndarray, conversion: np.ndarray, clicked_share: float) -> Measurement:
    """CTCVR's AUC on impressions, from rows that hold too many clicked ones.

    A conversion is told from a clicked row and from an unclicked one with an AUC each, which no proportion of rows
    biases; the day's AUC is their mean by the shares that each has among the day's negatives.
    """
    total = weights = 0.0
    for negatives, weight in ((click, clicked_share), (~click, 1 - clicked_share)):
        chosen = conversion | (negatives & ~conversion)
        if weight == 0:
            continue
        part = RankedScores(labels=conversion[chosen], scores=scores[chosen], outcome=OUTCOMES["ctcvr"]).auc()
        if isinstance(part, NotMeasurable):
            return part
        total, weights = total + weight * part.value, weights + weight
    return Measured(value=total / weights) if weights else NotMeasurable(reason="every row converted")


def _scores(model: ConversionModel, batch: Batch, batch_size: int) -> dict[Task, FloatArray]:
    """Logit of CTR and logarithms of CVR and CTCVR [B]: AUC asks for the order alone, and they keep it where
    probabilities underflow."""
    parts: list[torch.Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(batch), batch_size):
            answer = model.predict(part_of(batch, slice(start, start + batch_size)))
            parts.append(torch.stack([answer.ctr_logit, answer.log_cvr, answer.log_ctcvr]))
    columns = torch.cat(parts, dim=1).double().numpy() if parts else np.zeros((3, 0))
    return {"ctr": columns[0], "cvr": columns[1], "ctcvr": columns[2]}
