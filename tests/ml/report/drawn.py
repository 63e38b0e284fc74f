"""Axes to draw on without a picture, and what was drawn read back from them; for the tests of the pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.measurement import UNKNOWN
from ml.evaluation.task_metrics import task_metrics
from ml.report.task_curves import TaskCurves, task_curves


def blank_axes() -> Axes:
    """Axes of a figure that nothing is drawn on yet."""
    return Figure().add_subplot()


def words_on(axes: Axes) -> str:
    """All text within the axes, their legend, their axes' names and their marks."""
    legend = axes.get_legend()
    texts = [*axes.texts, *(legend.get_texts() if legend else [])]
    ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    return "\n".join([*(text.get_text() for text in [*texts, *ticks]), axes.get_xlabel(), axes.get_ylabel()])


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    """The points of the line of that label."""
    found = next(one for one in axes.get_lines() if one.get_label() == label)
    x, y = np.asarray(found.get_data(), dtype=np.float64)
    return x.tolist(), y.tolist()


def made_up_rows(
    rows: int = 4000,
    *,
    clicks: float | None = None,
    conversions: float | None = None,
    base_logit: float = -1.5,
    uncalibrated: bool = True,
    seed: int = 5,
) -> JudgedRows:
    """A day whose CVR was predicted too high before calibration; clicks and conversions: 0 or 1 for one class alone."""
    generator = np.random.default_rng(seed)
    p_click, p_conversion = (1 / (1 + np.exp(-generator.normal(size=rows) - base_logit)) for _ in range(2))
    click = generator.random(rows) < (p_click if clicks is None else clicks)
    conversion = click & (generator.random(rows) < (p_conversion if conversions is None else conversions))
    raised = np.sqrt(p_conversion)
    return JudgedRows(
        impression_id=pd.Series([f"i{number:05d}" for number in range(rows)]),
        units=generator.integers(0, max(1, rows // 4), rows),
        click=click.astype(np.uint8),
        conversion=conversion.astype(np.uint8),
        probabilities={"ctr": p_click, "cvr": p_conversion, "ctcvr": p_click * p_conversion},
        position=np.arange(rows),
        values={},
        uncalibrated={"cvr": raised, "ctcvr": p_click * raised} if uncalibrated else {},
    )


def curves_of(rows: JudgedRows, task: str) -> TaskCurves:
    """A task's curves, with the metrics that the evaluation would have."""
    metrics = task_metrics(rows, task, base_rate=None, interval=UNKNOWN, grouped=UNKNOWN)  # pyright: ignore
    return task_curves(rows, task, metrics=metrics)  # pyright: ignore
