"""The delay curve's picture says what the curve holds, the same bytes each time, and an empty one says so."""

import pytest

from ml.data.delay import DelayCurve, DelayPoint
from ml.report.delay_picture import draw_delay_curve, in_words

CURVE = DelayCurve(
    conversions=1234,
    window_seconds=2 * 86400,
    within_window=0.9,
    median_seconds=4000.0,
    points=(
        DelayPoint(seconds=60, share=0.1),
        DelayPoint(seconds=86400, share=0.8),
        DelayPoint(seconds=604800, share=1),
    ),
)


def test_the_picture_names_its_window_and_its_ground() -> None:
    picture = draw_delay_curve(CURVE)
    assert picture.caption == "1,234 conversions; the window ends at 2 d."
    assert picture.png.startswith(b"\x89PNG")
    assert "conversions that have come" in picture.svg
    assert ">7 d<" in picture.svg
    assert draw_delay_curve(CURVE).png == picture.png


def test_no_conversion_is_said() -> None:
    empty = CURVE.model_copy(update={"conversions": 0, "points": ()})
    assert "No conversion was credited" in draw_delay_curve(empty).svg


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (5400, "1.5 h"), (86400, "1 d"), (1e6, "11.6 d")]
)
def test_durations_are_said_in_their_largest_unit(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_the_picture_belongs_with_the_labels() -> None:
    assert draw_delay_curve(CURVE).section == "labels"
