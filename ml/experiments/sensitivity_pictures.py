"""Draws how figures move with a setting, a picture a panel; it computes nothing."""

from __future__ import annotations

from matplotlib.axes import Axes

from ml.evaluation.measurement import Measured
from ml.experiments.definitions import METRICS, MetricName
from ml.experiments.summary import TableResult
from ml.report.picture import Picture, draw_picture

_COLOURS = ("#3b82c4", "#d97a2b", "#3f9e6e", "#8a63c7", "#b5493f", "#5d6672")


def draw_panels(table: TableResult) -> list[Picture]:
    """A picture a panel: each metric's mean over seeds by the setting's value, bars of one standard deviation."""
    return [
        draw_picture(
            f"{table.slug}-{number}",
            axis.partition(",")[0],
            f"{axis}. Bars: one standard deviation over seeds.",
            lambda axes, panel=panel, axis=axis: _draw(axes, table, panel, axis),
        )
        for number, (panel, axis) in enumerate(table.panels.items(), start=1)
    ]


def _draw(axes: Axes, table: TableResult, panel: str, axis: str) -> None:
    # At even distances: settings are tried by magnitudes, and 0, 0.01 and 0.1 would lie on one another.
    values = sorted({row.x for row in table.rows if row.panel == panel and row.x is not None})
    drawn = False
    for name, colour in zip(table.metrics, _COLOURS, strict=False):
        points = _points(table, panel, name)
        if points:
            x, mean, std = zip(*points, strict=True)
            axes.errorbar(
                [values.index(value) for value in x], mean, yerr=std, marker="o", markersize=4, capsize=3,
                linewidth=1.4, color=colour, label=METRICS[name].title,
            )  # fmt: skip
            drawn = True
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set_xlabel(axis)
    if drawn:
        axes.legend(
            fontsize=7, ncols=len(table.metrics), loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1
        )
    else:
        axes.text(0.5, 0.5, "not measurable", ha="center", va="center", transform=axes.transAxes)


def _points(table: TableResult, panel: str, name: MetricName) -> list[tuple[float, float, float]]:
    found: list[tuple[float, float, float]] = []
    for row in table.rows:
        entry = row.entries[name]
        if row.panel == panel and row.x is not None and isinstance(entry.mean, Measured):
            std = entry.std.value if isinstance(entry.std, Measured) else 0.0
            found.append((row.x, entry.mean.value, std))
    return sorted(found)
