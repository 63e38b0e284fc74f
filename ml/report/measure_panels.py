"""Which of a model's measures share an axis, and their names beside it; drawing them is measure_pictures.py's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten

from ml.report.measure_words import measure_words
from ml.report.picture import PALETTE

MOST_LINES = len(PALETTE)
LONGEST_LABEL = 46


@dataclass(frozen=True)
class Panel:
    """Measures that share an axis: its name and unit, and by measure's name a label; level: a line to compare with."""

    axis: str
    labels: Mapping[str, str]
    share: bool = False
    level: float | None = None


_PANELS: dict[str, tuple[Panel, ...]] = {
    "curse_escaper": (
        Panel(
            "rows", {"curse_escaper.up_weighted.over_clicked": "up-weighted: not converted, click predicted high"}, True
        ),
        Panel("rows", {"curse_escaper.up_weighted.under_clicked": "up-weighted: converted, click predicted low"}, True),
        Panel("mean weight", {"curse_escaper.mean_weight": "of a row's conversion loss"}, level=1),
    ),
    "click_perceptron": (
        Panel("mean of s", {"click_perceptron.scale.mean": "1 leaves a feature as it is"}, level=1),
        Panel("s above 1", {"click_perceptron.scale.above_one": "share of features made stronger"}, share=True),
        Panel("|s − 1|", {"click_perceptron.scale.deviation": "mean distance from 1"}),
    ),
    "structure_migrator": (
        Panel(
            "distance moved",
            {"structure_migrator.user.distance": "users", "structure_migrator.item.distance": "items"},
            share=True,
        ),
    ),
    "propensity": (Panel("impressions", {"propensity.at_floor": "click probability below the floor"}, share=True),),
    "attention": (Panel("mean weight", {"attention.transferred": "of the click task's state"}, share=True),),
}
#: By part of the model: how to read its picture.
CAPTIONS = {
    "curse_escaper": "Samples whose click prediction and conversion contradict each other weigh more",
    "click_perceptron": "How far the click tower scales the conversion tower's features",
    "structure_migrator": "How far neighbours in the click graph move a conversion embedding, relative to its length, "
    "over rows whose value is in the graph",
    "attention": "How much the conversion task takes from the click task",
}


def panels_of(part: str, measures: Sequence[str]) -> tuple[Panel, ...]:
    """The known panels with what was measured, and for what is in none of them one more."""
    known = []
    for panel in _PANELS.get(part, ()):
        labels = {name: label for name, label in panel.labels.items() if name in measures}
        known += [Panel(panel.axis, labels, panel.share, panel.level)] if labels else []
    rest = [name for name in measures if not any(name in panel.labels for panel in known)][:MOST_LINES]
    labels = {name: shorten(measure_words(name).text, LONGEST_LABEL, placeholder=" …") for name in rest}
    return (*known, Panel("mean over rows", labels)) if rest else tuple(known)
