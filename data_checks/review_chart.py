"""Draws a trend as a small inline SVG, light and dark by the page's colours; what is drawn is decided elsewhere."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

from data_checks.review_trends import Trend, TrendPoint, Unit

_WIDTH, _HEIGHT = 320, 124
_LEFT, _RIGHT, _TOP, _BOTTOM = 6, 6, 24, 18


def draw(trend: Trend) -> Markup:
    """The `<svg>` element. Days without receipt are a grey band, refused days hollow dots, the bound a dashed line."""
    plot = _Plot(trend)
    parts = [*_gaps(plot), *_bound(plot), *_lines(plot), *_dots(plot), *_axis(plot)]
    label = escape(f"{trend.title}: {describe(trend)}")
    return Markup(
        f'<svg class="trend" role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'
    )


def describe(trend: Trend) -> str:
    """The trend in words: this day against the earlier ones and the bound."""
    today = "not measured" if trend.today is None else number(trend.today, trend.unit)
    known = sum(point.value is not None for point in trend.points[:-1])
    days = f"median of the {known} days" if known > 1 else "the one day"
    if trend.usual is None:
        before = "no earlier day to compare with"
    else:
        before = f"{days} before {number(trend.usual, trend.unit)}"
    bound = "" if trend.bound is None else f", bound {number(trend.bound, trend.unit)}"
    return f"this day {today}, {before}{bound}"


def number(value: float, unit: Unit) -> str:
    """A value as people read it: 25,000 · 4.12 % · 0.312."""
    if unit == "count":
        return f"{value:,.0f}"
    return f"{100 * value:.3g} %" if unit == "share" else f"{value:.4g}"


class _Plot:
    """Where a day and a value lie on the picture."""

    def __init__(self, trend: Trend) -> None:
        self.trend = trend
        values = [point.value for point in trend.points if point.value is not None]
        shown = [*values, *([] if trend.bound is None else [trend.bound])]
        self.top = max([*shown, 0.0]) or 1.0
        self.bottom = min([*shown, 0.0])
        self.step = (_WIDTH - _LEFT - _RIGHT) / len(trend.points)

    def x(self, place: int) -> float:
        return _LEFT + self.step * (place + 0.5)

    def y(self, value: float) -> float:
        share = (value - self.bottom) / (self.top - self.bottom)
        return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _gaps(plot: _Plot) -> Iterator[str]:
    height = _HEIGHT - _TOP - _BOTTOM
    for start, length in _runs([point.verdict is None for point in plot.trend.points]):
        x, width = _LEFT + start * plot.step, length * plot.step
        yield f'<rect class="gap" x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="{height}"/>'


def _bound(plot: _Plot) -> Iterator[str]:
    if plot.trend.bound is None:
        return
    y = plot.y(plot.trend.bound)
    yield f'<path class="bound" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
    # Over the line, or under it where the line is at the top.
    text_y = y - 3 if y > _TOP + 4 else y + 11
    yield f'<text x="{_LEFT}" y="{text_y:.1f}">bound {escape(number(plot.trend.bound, plot.trend.unit))}</text>'


def _lines(plot: _Plot) -> Iterator[str]:
    points = plot.trend.points
    for start, length in _runs([point.value is not None for point in points]):
        if length > 1:
            corners = (f"{plot.x(place):.1f} {_y(plot, points[place]):.1f}" for place in range(start, start + length))
            yield f'<path class="line" d="M{"L".join(corners)}"/>'


def _dots(plot: _Plot) -> Iterator[str]:
    last = len(plot.trend.points) - 1
    for place, point in enumerate(plot.trend.points):
        if point.value is None:
            continue
        kind = " refused" if point.verdict == "refused" else ""
        radius, kind = (4.5, f"{kind} today") if place == last else (2.2, kind)
        what = escape(f"{point.day}: {number(point.value, plot.trend.unit)}, {point.verdict}")
        yield (
            f'<circle class="dot{kind}" cx="{plot.x(place):.1f}" cy="{_y(plot, point):.1f}" r="{radius}">'
            f"<title>{what}</title></circle>"
        )


def _axis(plot: _Plot) -> Iterator[str]:
    points = plot.trend.points
    yield f'<path class="axis" d="M{_LEFT} {plot.y(max(plot.bottom, 0.0)):.1f}H{_WIDTH - _RIGHT}"/>'
    yield f'<text x="{_LEFT}" y="{_HEIGHT - 4}">{points[0].day}</text>'
    yield f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{points[-1].day}</text>'
    if plot.trend.today is not None:
        today = escape(number(plot.trend.today, plot.trend.unit))
        yield f'<text class="now" x="{_WIDTH - _RIGHT}" y="{_TOP - 11}" text-anchor="end">{today}</text>'


def _y(plot: _Plot, point: TrendPoint) -> float:
    assert point.value is not None
    return plot.y(point.value)


def _runs(flags: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """(start, length) of each run of true flags."""
    start = None
    for place, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = place
        elif not flag and start is not None:
            yield start, place - start
            start = None
