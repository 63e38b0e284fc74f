"""What the models' own measures are called in words; how a measure is taken stands in the model (`measures`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ml.report.wording import words

_PARTS = {
    "gate": "Gates: mean weight of the experts",
    "curse_escaper": "Curse escaper (CE)",
    "click_perceptron": "Click perceptron (CP)",
    "structure_migrator": "Structure migrator (SM)",
    "attention": "Attention",
    "propensity": "Propensity",
    "scale": "Scales of the shared networks",
}
_KNOWN = {
    "curse_escaper.up_weighted.over_clicked": "share of rows up-weighted: not converted, though a click was likely",
    "curse_escaper.up_weighted.under_clicked": "share of rows up-weighted: converted, though a click was unlikely",
    "curse_escaper.mean_weight": "mean weight of a row in the conversion loss",
    "click_perceptron.scale.mean": "scales s: mean; 1 leaves a feature as it is",
    "click_perceptron.scale.deviation": "scales s: mean distance from 1",
    "click_perceptron.scale.above_one": "scales s: share above 1",
    "structure_migrator.user.distance": "users: how far embeddings move, relative to their length; 0 outside the graph",
    "structure_migrator.item.distance": "items: how far embeddings move, relative to their length; 0 outside the graph",
    "structure_migrator.user.known": "users: share of rows whose user is in the graph",
    "structure_migrator.item.known": "items: share of rows whose item is in the graph",
    "attention.transferred": "mean weight of what the click tower hands to the conversion tower",
    "propensity.at_floor": "share of impressions whose click probability is below the floor",
    "imputed_error": "mean imputed error of the conversion prediction",
    "value_mu": "order value: mean of the log-normal μ",
    "value_sigma": "order value: mean of the log-normal σ",
}
_TASKS = {"ctr": "CTR", "cvr": "CVR", "ctcvr": "CTCVR"}


@dataclass(frozen=True)
class MeasureWords:
    """A measure's name, the part of the model that it tells of, and what it is, both in words."""

    name: str
    part: str
    text: str


def measure_words(name: str) -> MeasureWords:
    """Words for any model's measure; of one that is not known, its own name taken apart."""
    head, dot, rest = name.partition(".")
    part = _PARTS.get(head, words(head)) if dot else "Of the whole model"
    return MeasureWords(name=name, part=part, text=_KNOWN.get(name) or _gate(name) or _plain(rest or name))


def grouped_measures(*measured: Mapping[str, float]) -> list[tuple[str, list[tuple[MeasureWords, list[float | None]]]]]:
    """All measures of several models, by part of the model: each with its words and each model's number, or None.

    Parts and measures stand in the order of their names.
    """
    groups: dict[str, list[tuple[MeasureWords, list[float | None]]]] = {}
    for name in sorted({name for each in measured for name in each}):
        found = measure_words(name)
        groups.setdefault(found.part, []).append((found, [each.get(name) for each in measured]))
    return list(groups.items())


def _gate(name: str) -> str | None:
    if found := re.fullmatch(r"gate\.(\w+)\.learner(\d+)\.(\w+)", name):
        task, learner, group = found.groups()
        return f"{_TASKS.get(task, task)}, learner {int(learner) + 1}: {group} experts"
    if found := re.fullmatch(r"gate\.(\d+)\.(\w+)\.(\w+)", name):
        level, task, group = found.groups()
        return f"level {level}, {_TASKS.get(task, task)}: {_TASKS.get(group, group)} experts"
    if found := re.fullmatch(r"gate\.(\w+)\.(\d+)", name):
        task, expert = found.groups()
        return f"{_TASKS.get(task, task + ' tasks' if task == 'both' else task)}: expert {int(expert) + 1}"
    return None


def _plain(name: str) -> str:
    return ", ".join(" ".join(_TASKS.get(word, word) for word in part.split("_")) for part in name.split("."))
