"""What a report says of what is not there: no champion, no inspection, an older bundle, nothing measurable."""

import re

import pytest

from ml.report.facts import Costs, ReportFacts, StageCost
from tests.ml.report.full_facts import DELAY, FULL_FACTS, TRAINING, inspection
from tests.ml.report.parsed_page import Page


def test_refused_days_stand_apart(rendered):
    words = Page(rendered()[2]).words
    used = words[words.index("Day Verdict Rows Receipt") : words.index("Data refused")]
    refused = words[words.index("Data refused") : words.index("This model was not inspected")]
    assert "2026-11-13 refused – – <script>alert(1)</script>" in refused
    assert "2026-11-14" in used
    assert "2026-11-14" not in refused
    assert "2026-11-13" not in used


def test_a_first_model_on_a_provisional_day_says_both(rendered, good_facts):
    facts = good_facts.model_copy(update={"mature": False, "stale_inputs": ("2026-11-09",)})
    page = Page(rendered(champion=False, facts=facts)[2])
    for words in ("Not enough evidence", "provisional", "There is no champion yet", "The rules of a first model"):
        assert words in page.text
    assert "Inputs restated since training: 2026-11-09." in page.text
    assert "smallest detectable" not in page.text.lower()


def test_the_champion_itself_is_not_compared(rendered, good_facts):
    facts = good_facts.model_copy(update={"is_champion": True})
    page = Page(rendered(champion=False, facts=facts)[2])
    assert "Champion, unchanged" in page.text
    assert "This model is the champion: the model is held to absolute bounds." in page.words


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


def test_an_old_bundle_without_anything_beside_is_said_in_sentences(rendered):
    page = Page(rendered(data=[], trained=False)[2])
    for sentence in (
        "The training left no metrics.jsonl",
        "No day was named",
        "No day of the window was refused",
        "The training's log names no calibration",
        "The predictions hold no uncalibrated columns",
        "Mature. A day’s labels are final after 2 days",
        "The delays of the conversions were not measured",
        "This model was not inspected",
        "No cost was recorded",
    ):
        assert sentence in page.words
    assert not {"Slices", "Embeddings", "Importance of fields"} & set(page.headings)


def test_an_inspection_that_found_nothing_says_why(rendered):
    empty = inspection().model_copy(
        update={"importance": (), "clusters": (), "measures": {}, "notes": ("too few rows",)}
    )
    shown = FULL_FACTS.model_copy(update={"inspection": empty, "champion_inspection": None})
    words = Page(rendered(shown=shown)[2]).words
    assert "A model of the kind cstwa has no measures of its own." in words
    assert "too few rows" in words
    assert "The embeddings of CTR and CVR were not compared; the reason stands with the model’s notes." in words
    assert "The importance of fields was not measured; the reason stands with the model’s notes." in words


def test_a_price_that_is_not_set_is_not_guessed(rendered):
    costs = Costs(stages=(StageCost(stage="cvr_model", wall_seconds=0.4),))
    facts = ReportFacts(labels_mature=True, label_days=2, costs=costs)
    words = Page(rendered(shown=facts)[2]).words
    assert "Stage Wall clock CPU Peak memory CVR model 0.4 s – – Not priced: set POSTCLICK_CPU_HOUR_PRICE" in words


def test_a_log_without_a_conversion_has_no_delay(rendered):
    delay = DELAY.model_copy(update={"conversions": 0, "within_window": None, "median_seconds": None, "points": ()})
    words = Page(rendered(shown=FULL_FACTS.model_copy(update={"delay": delay}))[2]).words
    assert "No conversion was credited, so no delay could be measured" in words
    assert "None" not in words


def test_a_calibration_record_of_another_version_is_passed_over(rendered):
    record = {**TRAINING[-1], "format": 9}
    assert "names no calibration" in Page(rendered(training=[*TRAINING[:-1], record])[2]).text
