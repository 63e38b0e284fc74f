"""The report page: what it says of a day, that it is safe and offline, and the same for the same evaluation."""

import re
from html.parser import HTMLParser

import pytest

from ml.evaluation.evaluate import evaluate
from ml.report import page as report_page
from ml.report.facts import DayUsed, ReportFacts
from ml.report.page import ReportTooLarge, render

BASE_RATES = {"ctr": 0.3, "cvr": 0.35, "ctcvr": 0.1}
DATA = (
    DayUsed(day="2026-11-14", receipt_id="f" * 64, verdict="admitted", rows=24_000),
    DayUsed(day="2026-11-13", verdict="refused", why="<script>alert(1)</script>"),
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects headings, text and every attribute that could name an address; refuses tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.tags, self.text = [], [], [], set(), ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                self.addresses.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def rendered(judged_day, gate, good_facts, challenger_facts, champion_facts, tmp_path):
    def run(
        *,
        champion=True,
        data=DATA,
        edit=None,
        trained=True,
        out="report.html",
        model=challenger_facts,
        facts=good_facts,
    ):
        ours = judged_day.predictions("a.parquet", noise=0.2, edit=edit)
        theirs = judged_day.predictions("b.parquet", noise=1.5, edit=edit) if champion else None
        evaluation = evaluate(
            predictions=ours, model=model, champion=(champion_facts, theirs) if theirs else None,
            truth=judged_day.truth, gate=gate, facts=facts, base_rates=BASE_RATES,
        )  # fmt: skip
        metrics = tmp_path / "metrics.jsonl"
        metrics.write_text(
            '{"kind":"step","step":1,"loss":0.5}\n{"kind":"epoch","epoch":1,"validation":{"auc_ctr":0.7}}\n'
        )
        answer = render(
            evaluation=evaluation, predictions=ours, champion_predictions=theirs,
            training_metrics=metrics if trained else None,
            facts=ReportFacts(data_used=tuple(data), labels_mature=True, label_days=2), out=tmp_path / out,
        )  # fmt: skip
        return evaluation, answer, answer.path.read_text(encoding="utf-8")

    return run


def test_the_page_stands_alone(rendered):
    _, answer, text = rendered()
    page = Page(text)
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    assert len(text.encode()) < 3_000_000
    assert answer.path.name == "report.html"


def test_no_two_elements_share_an_id(rendered):
    page = Page(rendered()[2])
    assert len(page.ids) == len(set(page.ids))


def test_the_decision_comes_first_and_every_rule_and_number_is_there(rendered):
    evaluation, _, text = rendered()
    page = Page(text)
    assert evaluation.decision.decision == "promoted"
    headings = ["Promoted", "The rules", "Challenger against champion", "Metrics", "Pictures", "Data used"]
    headings.append("Data refused")
    body = page.text[page.text.index("Judged on") :]
    places = [body.index(heading) for heading in headings]
    assert places == sorted(places)
    for rule in evaluation.decision.rules:
        assert rule.why in page.text
    for day in (evaluation.challenger, evaluation.champion):
        for metrics in day.tasks.values():
            assert f"{metrics.auc.value:.4f}" in page.text
            assert f"{metrics.log_loss.value:.5f}" in page.text
    for ceiling in evaluation.ceilings.values():
        assert f"{ceiling.auc.value:.4f}" in page.text
        assert f"{100 * ceiling.share_above_chance.value:.1f} %" in page.text


def test_refused_days_stand_apart_and_what_others_wrote_is_escaped(rendered):
    _, _, text = rendered()
    page = Page(text)
    refused = page.text[page.text.index("Data refused") :]
    assert "2026-11-13" in refused
    assert "<script>alert(1)</script>" in refused  # as text
    assert "2026-11-14" not in refused
    assert "<script>" not in text


def test_a_model_name_is_escaped_too(rendered, challenger_facts):
    _, _, text = rendered(model=challenger_facts.model_copy(update={"model": "<img src=x>"}))
    assert "<img" not in text
    assert "&lt;img src=x&gt;" in text


def test_pictures_come_back_as_png_for_dagster(rendered):
    _, answer, text = rendered()
    wanted = {"roc", "reliability_ctr", "reliability_cvr", "reliability_ctcvr", "training", "validation"}
    assert set(answer.pictures) == wanted
    assert all(picture.startswith(b"\x89PNG") for picture in answer.pictures.values())
    assert text.count("<svg") == len(wanted)


def test_same_inputs_same_bytes_and_nothing_else_is_left_behind(rendered, tmp_path):
    _, first, text = rendered(out="one/report.html")
    _, second, again = rendered(out="two/report.html", data=list(reversed(DATA)))
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["report.html"]
    assert text == again
    assert first.pictures == second.pictures


def test_a_first_model_on_a_provisional_day_says_both(rendered, good_facts):
    facts = good_facts.model_copy(update={"mature": False, "stale_inputs": ("2026-11-09",)})
    page = Page(rendered(champion=False, facts=facts)[2])
    for words in ("Not enough evidence", "provisional", "There is no champion yet"):
        assert words in page.text
    assert "Inputs restated since training: 2026-11-09" in page.text


def test_inputs_restated_since_training_are_named_for_both_models(rendered, good_facts):
    facts = good_facts.model_copy(update={"champion_stale_inputs": ("2026-11-07", "2026-11-08")})
    text = Page(rendered(facts=facts)[2]).text
    assert "Inputs restated since training: none; the champion's: 2026-11-07, 2026-11-08." in text


@pytest.mark.parametrize(
    "edit",
    [
        lambda frame: frame.assign(click=0, conversion=0),
        lambda frame: frame.assign(click=1),
        lambda frame: frame.assign(p_ctr=float("nan"), p_cvr=float("nan"), p_ctcvr=float("nan")),
        lambda frame: frame.head(0),
    ],
    ids=["no click", "all clicked", "no number", "no row"],
)
@pytest.mark.parametrize("champion", [True, False])
def test_what_cannot_be_measured_is_said_and_no_nan_is_shown(rendered, edit, champion):
    page = Page(rendered(edit=edit, champion=champion)[2])
    assert "not measurable" in page.text.lower()
    assert not re.search(r"\bnan\b", page.text, flags=re.IGNORECASE)


def test_no_day_and_no_training_log_are_said(rendered):
    page = Page(rendered(data=[], trained=False)[2])
    assert "The training left no metrics.jsonl" in page.text
    assert "No day was named" in page.text
    assert "No day of the window was refused" in page.text


def test_a_page_that_is_too_large_is_refused_and_not_written(rendered, monkeypatch, tmp_path):
    monkeypatch.setattr(report_page, "LARGEST_BYTES", 1000)
    with pytest.raises(ReportTooLarge, match="1,000 are allowed"):
        rendered()
    assert not (tmp_path / "report.html").exists()
