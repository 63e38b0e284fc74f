"""The page across days: what it tells of days, decisions and champions; that it is safe, offline and small."""

import re
from html.parser import HTMLParser

import pytest

from ml.report import history as history_page
from ml.report.history import MOST_DAYS, VERDICTS, HistoryTooLarge, render_history
from ml.report.history_day import HistoryDay
from ml.report.history_pictures import draw_history
from tests.ml.report.made_up_history import FIRST, decided, judged, long_history

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Collects text, links, ids, tags and the cells of each table's rows; refuses tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.text, self.rows = [], [], [], set(), "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        assert not {"src", "srcset", "action", "onclick", "onload"} & set(found)
        if tag == "tr":
            self.rows.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "tr" in self.open and self.rows:
            self.rows[-1] += data


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    """rendered(days, decisions): the page's text; its pictures take a second and are drawn only when asked for."""

    def run(days=(), decisions=(), *, pictures=False, **arguments):
        monkeypatch.setattr(history_page, "draw_history", draw_history if pictures else lambda days: [])
        out = tmp_path / "history.html"
        assert render_history(days, decisions, dataset="shop", out=out, **arguments) is None
        return out.read_text(encoding="utf-8")

    return run


def row(page, day):
    [found] = [row for row in page.rows if row.lstrip().startswith(str(day))]
    return " ".join(found.split())


def test_the_page_stands_alone_and_no_two_elements_share_an_id(rendered):
    text = rendered(*long_history(30), pictures=True)
    page = Page(text)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "img"}
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids))
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_same_days_give_the_same_bytes_in_whatever_order(rendered):
    days, decisions = long_history(30)
    assert rendered(days, decisions) == rendered(days[::-1], decisions[::-1])


def test_more_than_a_year_stays_small_and_says_what_is_left_out(rendered):
    days, decisions = long_history(MOST_DAYS + 25)
    text = rendered(days, decisions, pictures=True)
    assert len(text.encode()) < 2_000_000
    page = Page(text)
    assert "25 older ones are not shown" in page.text
    assert not any(row.lstrip().startswith(str(days[24].day)) for row in page.rows)
    assert row(page, days[25].day)


def test_a_page_beyond_the_limit_is_refused_and_nothing_is_written(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(history_page, "LARGEST_BYTES", 1000)
    with pytest.raises(HistoryTooLarge, match="1,000 are allowed"):
        rendered(*long_history(3))
    assert list(tmp_path.iterdir()) == []


def test_days_come_newest_first_with_verdict_numbers_and_the_champions_beside(rendered):
    days, decisions = long_history(12)
    page = Page(rendered(days, decisions))
    listed = [row for row in page.rows if re.match(r"\s*2026-\d\d-\d\d(?! \d)", row)][: len(days)]
    assert [found.split()[0] for found in listed] == [str(day.day) for day in days[::-1]]
    day = days[1]
    told = row(page, day.day)
    ours, theirs = day.challenger.tasks["ctcvr"], day.champion.tasks["ctcvr"]
    for number in (
        f"{ours.auc.value:.4f}", f"{ours.auc.lower:.4f} to {ours.auc.upper:.4f}", f"champion {theirs.auc.value:.4f}",
        f"{day.challenger.tasks['cvr'].auc.value:.4f}", f"{day.challenger.tasks['ctr'].auc.value:.4f}",
        f"{ours.log_loss:.5f}", f"{ours.pcoc:.3f}", f"{day.conversions:,}", "+0.0040", "-0.0090 to +0.0170",
    ):  # fmt: skip
        assert number in told, number


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_is_worded(rendered, verdict):
    told = row(Page(rendered([judged(1, verdict=verdict)])), judged(1).day)
    assert VERDICTS[verdict] in told


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("refused", "✕ refused"),
        ("accepted", "▲ accepted by review"),
        ("excluded", "✕ excluded by review"),
        ("none", "no receipt"),
        ("unreadable", "receipt unreadable"),
    ],
)
def test_data_in_doubt_is_marked_and_links_to_its_review(rendered, state, told):
    day = judged(1, data=state, data_why="by ann: a holiday", review="reviews/2026-01-06/00/review.html")
    page = Page(rendered([day]))
    assert told in row(page, day.day)
    assert "../../reviews/2026-01-06/00/review.html" in page.links
    assert ("by ann: a holiday" in page.text) == (state != "none")


def test_a_day_links_to_its_report_where_there_is_one(rendered):
    days = [judged(1), judged(2, report=None)]
    assert Page(rendered(days)).links == [f"../../{days[0].report}"]
    assert Page(rendered(days, store="file:///home/store")).links == [f"file:///home/store/{days[0].report}"]


def test_decisions_and_champions_are_told_with_who_when_and_why(rendered):
    decisions = [
        decided(1, kind="promoted", effect=True, why="first of all"),
        decided(2, kind="promoted", effect=True, why="better"),
        decided(3, kind="promoted", effect=False, why="lost the race"),
        decided(4, kind="insufficient_evidence", why="9 conversions"),
        decided(5, kind="rolled_back", place=1, effect=True, who="ann", why="checkout broke"),
    ]
    page = Page(rendered([judged(1, verdict="promoted")], decisions))
    champions = page.text[page.text.index("Champions") : page.text.index("Decisions")]
    assert [champions.index(why) for why in ("checkout broke", "better", "first of all")] == sorted(
        champions.index(why) for why in ("checkout broke", "better", "first of all")
    )
    assert "lost the race" not in champions
    assert "Rollback" in champions
    for decision in decisions:
        told = page.text[page.text.index("Every decision") :]
        assert decision.reason in told
        assert f"{decision.at:%Y-%m-%d %H:%M}" in told
    assert "did not take effect" in page.text
    assert page.text.index("Champion: cstwa as of 2026-01-06") < page.text.index("Days")
    assert "since 2026-01-05 05:00 UTC, by rollback of ann" in " ".join(page.text.split())


def test_what_others_wrote_is_escaped(rendered):
    evil = "<script>alert(1)</script>"
    day = judged(1, data="accepted", data_why=evil, note=evil, reasons=(evil,))
    text = rendered([day], [decided(1, kind="rolled_back", effect=True, who=evil, why=evil)])
    assert "<script" not in text
    assert Page(text).text.count(evil) >= 5


def test_an_empty_history_says_so(rendered):
    page = Page(rendered(pictures=True))
    assert "No champion yet" in page.text
    assert "No day of data has been validated" in page.text
    assert "svg" not in page.tags


def test_days_without_any_model_have_no_pictures(rendered):
    page = Page(rendered([HistoryDay(day=FIRST, verdict="not_run", data="admitted")], pictures=True))
    assert "svg" not in page.tags
    assert "data admitted" in row(page, FIRST)
