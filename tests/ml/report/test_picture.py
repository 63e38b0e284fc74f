"""A picture's markup: no address, ids of its own, what others wrote escaped; the same bytes for the same input."""

import re

import pytest

from ml.report.picture import INK, distinct_names, draw_panels, draw_picture, legend_above, say


def draw(axes):
    axes.plot([0, 1, 2], [0.123456789, 0.2, 0.3], marker="o", label="<b>&$x^2$")
    legend_above(axes)


def test_the_svg_holds_no_address_and_its_ids_are_the_pictures_own():
    svg = draw_picture("first", "Title", "caption", draw).svg
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>\n")
    assert not re.search(r"https?:|xmlns|xlink|<style|<metadata", svg)
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(ids) == len(set(ids)) > 10
    assert all(found.startswith("first-") for found in ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg)) <= set(ids)


def test_the_ink_is_the_pages_and_so_is_the_font():
    svg = draw_picture("ink", "Title", "caption", draw).svg
    assert "currentColor" in svg
    assert INK not in svg
    assert "font-family" not in svg


def test_what_others_named_is_escaped_and_is_no_formula():
    svg = draw_picture("names", 'a "b" <script>', "caption", draw).svg
    assert "&lt;b&gt;&amp;$x^2$" in svg
    assert 'aria-label="a &quot;b&quot; &lt;script&gt;"' in svg
    assert "<script>" not in svg


def test_coordinates_are_short_and_texts_are_left_as_they_are():
    svg = draw_picture("short", "Title", "caption", lambda axes: axes.text(0.5, 0.5, "0.123456 said")).svg
    assert "0.123456 said" in svg
    attributes = re.findall(r' (?:d|x|y|transform)="([^"]*)"', svg)
    assert attributes
    assert not any(re.search(r"\.\d{3}", attribute) for attribute in attributes)


def test_the_same_input_gives_the_same_bytes():
    assert draw_picture("same", "Title", "caption", draw) == draw_picture("same", "Title", "caption", draw)


def test_words_alone_take_less_room():
    said = draw_picture("said", "Title", "caption", lambda axes: say(axes, "no rows"))
    assert ">no rows<" in said.svg
    heights = [
        float(re.search(r'viewBox="0 0 \S+ (\S+)"', svg)[1]) for svg in (said.svg, draw_picture("n", "", "", draw).svg)
    ]
    assert heights == [pytest.approx(86.4), pytest.approx(244.8)]


def test_long_words_are_broken_into_lines():
    svg = draw_picture("long", "Title", "caption", lambda axes: say(axes, "word " * 20)).svg
    assert svg.count("word") == 20
    assert svg.count("<text") + svg.count("<tspan") >= 3


def test_panels_are_given_row_by_row():
    def three(panels):
        assert len(panels) == 6
        for number, axes in enumerate(panels):
            axes.set_title(f"panel {number}")
            axes.plot([0, 1])

    svg = draw_panels("many", "Title", "caption", three, rows=2, columns=3).svg
    assert [f"panel {number}" in svg for number in range(7)] == [True] * 6 + [False]


def test_two_identifiers_never_share_a_name():
    names = distinct_names("bias", ["a b", "a_b", "A-B", "ä", ""])
    assert len(set(names.values())) == 5
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names.values())
    assert names["a b"] == "bias_a_b"
