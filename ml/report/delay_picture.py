"""Draws a delay curve; it is measured by `ml.data.delay`."""

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from ml.data.delay import DelayCurve
from ml.report.picture import COLOURS, Picture, draw_picture, say
from ml.report.share_axes import linear_shares

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def draw_delay_curve(curve: DelayCurve) -> Picture:
    """Share of the conversions by time since their touch, on a logarithmic axis; the conversion window is marked."""
    caption = f"{curve.conversions:,} conversions; the window ends at {in_words(curve.window_seconds)}."
    return draw_picture("delay", "Conversion delay", caption, lambda axes: _draw(axes, curve), section="labels")


def in_words(seconds: float) -> str:
    """A duration in its largest fitting unit, such as `3 d` or `45 min`."""
    for size, name in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def _draw(axes: Axes, curve: DelayCurve) -> None:
    if not curve.points:
        say(axes, "No conversion was credited")
        return
    seconds = [point.seconds for point in curve.points]
    axes.plot(
        seconds,
        [point.share for point in curve.points],
        marker="o",
        markersize=3.5,
        linewidth=1.4,
        color=COLOURS["ctr"],
    )
    axes.axvline(curve.window_seconds, linewidth=0.8, linestyle="--", color=COLOURS["cvr"])
    axes.text(curve.window_seconds, 0.02, " W", color=COLOURS["cvr"])
    axes.set_xscale("log")
    axes.set_xticks([mark for mark in (60, 3600, 86400, 7 * 86400, 30 * 86400) if seconds[0] <= mark <= seconds[-1]])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: in_words(value)))
    linear_shares(axes.yaxis)
    axes.set(xlabel="time since the touch", ylabel="conversions that have come", ylim=(0, 1.02))
