"""The report page as a file: it stands alone, is safe, the same for the same inputs, and its sections are in order."""

import re

import pytest

from ml.report import page as report_page
from ml.report import page_sections
from ml.report.facts import ReportFacts
from ml.report.page import ReportTooLarge
from tests.ml.report.full_facts import DATA, FULL_FACTS, HOSTILE, inspection
from tests.ml.report.parsed_page import Page
from tests.ml.report.rendered_pages import PICTURED, everything


def test_the_page_stands_alone_and_every_address_leads_to_one_place_on_it(rendered):
    _, answer, text = everything(rendered, real_pictures=True)
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
    assert not page.tags & {"link", "iframe", "object", "embed", "img", "form", "base"}
    assert len(page.ids) == len(set(page.ids))
    assert {address.removeprefix("#") for address in page.addresses} <= set(page.ids)
    assert answer.path.name == "report.html"
    drawn = {picture.name: picture for picture in answer.pictures}
    assert {"roc", "reliability_ctr", "reliability_cvr", "reliability_ctcvr"} <= set(drawn)
    assert all(picture.png.startswith(b"\x89PNG") and picture.section for picture in drawn.values())
    assert text.count("<svg") == len(answer.pictures)
    assert 50_000 < len(text.encode()) < 1_500_000


def test_the_sections_stand_in_order_and_the_contents_name_them(rendered):
    page = Page(everything(rendered)[2])
    assert page.headings == [
        "The rules", "Challenger against champion", "Metrics", "Ranking", "Calibration", "Scores", "Slices", "Training",
        "Labels", "Data used", "The model", "Embeddings", "Importance of fields", "Cost", "Where the numbers are",
    ]  # fmt: skip
    contents = page.words[: page.words.index("The rules")]
    contents = contents[contents.index("Rules Champion") :]
    assert contents.split() == [
        "Rules", "Champion", "Metrics", "Ranking", "Calibration", "Scores", "Slices", "Training", "Labels", "Data",
        "Model", "Embeddings", "Importance", "Cost", "Numbers",
    ]  # fmt: skip


def test_the_decision_comes_first(rendered):
    evaluation, _, text = rendered()
    page = Page(text)
    assert evaluation.decision.decision == "promoted"
    verdict = page.words.index("Promoted The CTCVR AUC differs")
    assert verdict < page.words.index("The rules") < page.words.index("Rule Verdict Value")
    for rule in evaluation.decision.rules:
        assert rule.why in page.text
    for reason in evaluation.decision.reasons:
        assert page.text.count(reason) >= 2


def test_every_picture_stands_in_its_section_and_an_unknown_one_with_the_training(rendered, monkeypatch):
    page = Page(everything(rendered)[2])
    places = [page.text.index(f"drawn: {section}") for section in PICTURED]
    assert places == sorted(places)
    for section in PICTURED:
        assert f"Title of {section}" in page.text
        assert f"Caption of {section}" in page.text
    known = {name: heading for name, heading in page_sections.SECTIONS.items() if name != "cost"}
    monkeypatch.setattr(page_sections, "SECTIONS", known)
    page = Page(everything(rendered)[2])
    training = page.text[page.text.index("3 epochs") : page.text.index("Provisional.")]
    assert "drawn: cost" in training


def test_what_others_wrote_is_escaped_everywhere(rendered, challenger_facts):
    hostile = FULL_FACTS.model_copy(
        update={
            "data_used": (*DATA, DATA[0].model_copy(update={"day": HOSTILE, "why": HOSTILE, "verdict": HOSTILE})),
            "inspection": inspection(name=HOSTILE).model_copy(update={"measures": {HOSTILE: 1.0, f"a.{HOSTILE}": 2.0}}),
            "inspection_failures": (HOSTILE,),
            "costs": FULL_FACTS.costs.model_copy(update={"currency": HOSTILE}),
        }
    )
    model = challenger_facts.model_copy(update={"model": HOSTILE, "model_id": HOSTILE})
    _, _, text = everything(rendered, shown=hostile, model=model, real_pictures=True)
    page = Page(text)
    assert "<img" not in text
    assert text.count("<script>") == 1
    assert "{{ 7 }}" in page.text
    assert page.text.count(HOSTILE) > 12
    assert page.script.count("alert") == 0


def test_same_inputs_same_bytes_and_the_facts_lie_beside_the_page(rendered, tmp_path):
    _, first, text = everything(rendered, out="one/report.html")
    shuffled = FULL_FACTS.model_copy(update={"data_used": tuple(reversed(DATA))})
    _, second, again = everything(rendered, out="two/report.html", shown=shuffled)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["report.html", "report.json"]
    assert text == again
    assert first.pictures == second.pictures
    assert first.numbers == tmp_path / "one" / "report.json"
    written = first.numbers.read_text(encoding="utf-8")
    assert ReportFacts.model_validate_json(written) == FULL_FACTS
    assert written.index('"costs"') < written.index('"data_used"') < written.index('"delay"')


def test_a_page_that_is_too_large_is_refused_and_not_written(rendered, monkeypatch, tmp_path):
    monkeypatch.setattr(report_page, "LARGEST_BYTES", 1000)
    with pytest.raises(ReportTooLarge, match="1,000 are allowed"):
        rendered()
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "report.json").exists()
