"""Draws the gates of models with experts: which experts each task and learner listens to, and how that came about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ml.report.measure_words import measure_words
from ml.report.picture import INK, PALETTE, Picture, draw_panels, draw_picture, legend_above, say
from ml.report.share_axes import linear_shares
from ml.report.training_curve import Points

PREFIX = "gate."
_SECTION = "model"
_MOST_PANELS = 8
# Not INK, which turns with the page while the bars do not.
_ON_LIGHT, _ON_DEEP = "#101418", "#ffffff"
_DEEP = {PALETTE[3], PALETTE[4], PALETTE[6]}
#: Below this share of a bar its number would not fit into it.
_OF_EXPERTS = " experts"
_SMALLEST_NAMED = 0.1


def draw_gates(
    latest: Mapping[str, float], courses: Mapping[str, Points], *, latest_is: str, best: int | None
) -> list[Picture]:
    """Stacked bars of the weights `latest` by gate, and where two epochs were recorded their course.

    Names as in the models' `measures`, with or without others among them; latest_is: where its values come from.
    """
    pictures: list[Picture] = []
    gates = gates_of(_in_order(latest))
    # Of both pictures together, so that a group has one colour in them.
    colours = _colours(gates_of(_in_order({*latest, *courses})))
    if gates:
        pictures.append(
            draw_picture(
                "gate_weights",
                "Gate weights",
                f"Mean weight that each gate gives to a group of experts, {latest_is}; a bar adds up to 100 %.",
                lambda axes: weights(axes, gates, latest, colours),
                section=_SECTION,
                height=1.3 + 0.34 * len(gates),
            )
        )
    curves = {name: courses[name] for name in _in_order(courses) if len(courses[name]) > 1}
    shown = dict(list(gates_of(list(curves)).items())[:_MOST_PANELS])
    if shown:
        columns = 3 if len(shown) in (3, 5, 6) else min(len(shown), 2)
        left_out = len(gates_of(list(curves))) - len(shown)
        pictures.append(
            draw_panels(
                "gate_course",
                "Gate weights by epoch",
                "The same weights, in the same colours, on held-out rows after each epoch"
                + ("; dashed: the epoch kept." if best is not None else ".")
                + (f" {left_out} more gates are not drawn." if left_out else ""),
                lambda panels: _draw_courses(panels, shown, curves, colours, best=best),
                rows=-(-len(shown) // columns),
                columns=columns,
                section=_SECTION,
                height=0.9 + 1.25 * -(-len(shown) // columns),
            )
        )
    return pictures


def gates_of(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The measures' names by gate in words ("CTR, learner 1") and group of experts ("general experts")."""
    gates: dict[str, dict[str, str]] = {}
    for name in names:
        gate, _, group = measure_words(name).text.rpartition(": ")
        gates.setdefault(gate or "all tasks", {})[group] = name
    return gates


def weights(
    axes: Axes, gates: Mapping[str, Mapping[str, str]], latest: Mapping[str, float], colours: Mapping[str, str]
) -> None:
    """A stacked bar a gate, from the top in their order, the shares written into them."""
    drawn = {group: colours[group] for groups in gates.values() for group in groups}
    for row, groups in enumerate(gates.values()):
        start = 0.0
        for group, name in groups.items():
            weight = latest[name]
            axes.barh(row, weight, left=start, color=colours[group], height=0.72, linewidth=0)
            if weight >= _SMALLEST_NAMED:
                ink = _ON_DEEP if colours[group] in _DEEP else _ON_LIGHT
                place = start + weight / 2
                axes.text(place, row, f"{100 * weight:.0f}", ha="center", va="center", color=ink, fontsize=8)
            start += weight
    for group, colour in drawn.items():
        axes.bar(0, 0, color=colour, label=group.removesuffix(_OF_EXPERTS))
    axes.set_yticks(range(len(gates)), list(gates))
    of = "mean weight of experts" if all(group.endswith(_OF_EXPERTS) for group in drawn) else "mean weight"
    axes.set(ylim=(len(gates) - 0.5, -0.5), xlim=(0, 1), xlabel=of)
    axes.grid(visible=False, axis="y")
    linear_shares(axes.xaxis, ticks=2)
    # The axes are what the gates' names leave of the picture: a legend wider than them is cut off.
    longest = max(len(group.removesuffix(_OF_EXPERTS)) for group in drawn)
    legend_above(axes, columns=3 if longest <= 8 else 2 if longest <= 14 else 1)


def _draw_courses(
    panels: Sequence[Axes],
    gates: Mapping[str, Mapping[str, str]],
    curves: Mapping[str, Points],
    colours: Mapping[str, str],
    *,
    best: int | None,
) -> None:
    columns = panels[0].get_subplotspec().get_geometry()[1]  # pyright: ignore[reportOptionalMemberAccess]
    for place, axes in enumerate(panels):
        if place >= len(gates):
            axes.set_axis_off()
            continue
        gate, groups = list(gates.items())[place]
        course(axes, [curves[name] for name in groups.values()], [colours[group] for group in groups], best=best)
        axes.set_title(gate, fontsize=9)
        if place % columns:
            axes.set_yticklabels([])
        if place + columns < len(gates):
            axes.set_xticklabels([])
        else:
            axes.set_xlabel("epoch", fontsize=9)


def course(axes: Axes, curves: Sequence[Points], colours: Sequence[str], *, best: int | None) -> None:
    """One gate's weights as areas over the epochs that all of its groups have, stacked."""
    epochs = sorted(set.intersection(*({epoch for epoch, _ in points} for points in curves)))
    if len(epochs) < 2:
        say(axes, "no two epochs\nhave all groups")
        return
    values = [[dict(points)[epoch] for epoch in epochs] for points in curves]
    axes.stackplot(np.array(epochs), np.array(values), colors=colours, linewidth=0)
    axes.set(ylim=(0, 1), xlim=(epochs[0], epochs[-1]))
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    if best is not None:
        axes.axvline(best, color=INK, linewidth=0.9, linestyle="--", alpha=0.7)


def _in_order(names: Iterable[str]) -> list[str]:
    """The gates' names in order, the tenth expert behind the ninth."""

    def numbers_by_size(name: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]

    return sorted((name for name in names if name.startswith(PREFIX)), key=numbers_by_size)


def _colours(gates: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    groups = dict.fromkeys(group for found in gates.values() for group in found)
    return {group: PALETTE[number % len(PALETTE)] for number, group in enumerate(groups)}
