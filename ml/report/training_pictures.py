"""Draws a training's own curves: loss by step, validation by epoch; a model's measures belong in its own pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ml.report.picture import COLOURS, INK, MARKERS, PALETTE, Picture, draw_picture, legend_above, say
from ml.report.share_axes import linear_shares
from ml.report.training_curve import Points, TrainingCurve
from ml.report.wording import words

_SECTION = "training"
_VIOLATIONS = "validation_order_violations"


def draw_training(curve: TrainingCurve) -> list[Picture]:
    """Loss by step always; validation, and predictions that no log can show, where epochs tell of them."""
    pictures = [
        draw_picture(
            "training",
            "Training loss",
            curve.note or "Mean loss of the rows since the point before it, on the rows trained on.",
            lambda axes: _draw_steps(axes, curve),
            section=_SECTION,
        )
    ]
    validated = {name: points for name, points in curve.epochs.items() if "auc" in name} or {
        name: points for name, points in curve.epochs.items() if name != _VIOLATIONS
    }
    if validated:
        pictures.append(
            draw_picture(
                "validation",
                "Validation by epoch",
                "On rows held out of the training days" + kept_words(curve) + ".",
                lambda axes: by_epoch(axes, validated, best=curve.best_epoch),
                section=_SECTION,
            )
        )
    if any(share > 0 for _, share in curve.epochs.get(_VIOLATIONS, ())):
        pictures.append(
            draw_picture(
                "order_violations",
                "Order violations by epoch",
                "Share of held-out rows with p_ctcvr above p_ctr, which no log can show; lower is better.",
                lambda axes: _draw_violations(axes, curve),
                section=_SECTION,
            )
        )
    return pictures


def kept_words(curve: TrainingCurve) -> str:
    """What a caption adds where an epoch is marked as the one kept."""
    return "" if curve.best_epoch is None else "; the dashed line marks the epoch whose weights were kept"


def by_epoch(axes: Axes, curves: Mapping[str, Points], *, best: int | None) -> None:
    """A line a curve, by the curves' names, with the kept epoch marked."""
    unit = "AUC" if any("auc" in name for name in curves) else "loss"
    tasks: dict[str, str] = {f"auc_{task}": colour for task, colour in COLOURS.items()}
    for (name, points), spare, marker in zip(curves.items(), PALETTE, MARKERS, strict=False):
        epochs, values = np.array(points).T
        metric = name.removeprefix("validation_")
        # A task has its colour in every picture of the page.
        colour = tasks.get(metric, spare)
        label = words(metric.removeprefix("auc_"))
        axes.plot(epochs, values, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
    axes.set(xlabel="epoch", ylabel=unit)
    mark_epochs(axes, best=best)
    legend_above(axes, columns=3)


def mark_epochs(axes: Axes, *, best: int | None) -> None:
    """Whole epochs on the axis, and a dashed line at the one whose weights were kept."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    if best is not None:
        axes.axvline(best, color=INK, linewidth=0.9, linestyle="--", alpha=0.6)


def _draw_steps(axes: Axes, curve: TrainingCurve) -> None:
    if not curve.steps:
        say(axes, curve.note or "No loss by step was recorded.")
        return
    steps, losses = np.array(curve.steps).T
    axes.plot(steps, losses, color=COLOURS["ctr"], linewidth=1.2, marker="o" if len(steps) < 8 else None, markersize=3)
    axes.set(xlabel="step", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_violations(axes: Axes, curve: TrainingCurve) -> None:
    epochs, shares = np.array(curve.epochs[_VIOLATIONS]).T
    axes.plot(epochs, shares, color=COLOURS["ctcvr"], marker="o", markersize=4, linewidth=1.4)
    axes.set(xlabel="epoch", ylabel="rows in violation")
    axes.set_ylim(bottom=0)
    linear_shares(axes.yaxis)
    mark_epochs(axes, best=curve.best_epoch)
