"""The words of the report: identifiers, shares, durations, memory and prices as people read them."""

import pytest

from ml.evaluation.measurement import Measured, NotMeasurable
from ml.report import wording


@pytest.mark.parametrize(
    ("identifier", "words"),
    [
        ("ctcvr_ece", "CTCVR ECE"),
        ("ctcvr_pcoc", "CTCVR PCOC"),
        ("enough_clicks", "Enough clicks"),
        ("ctr_auc_not_lost", "CTR AUC not lost"),
        ("ctcvr_log_loss_within_tolerance", "CTCVR log loss within tolerance"),
        ("piece_of_cake", "Piece of cake"),
        ("cvr", "CVR"),
        ("", ""),
    ],
)
def test_identifiers_become_words(identifier, words):
    assert wording.words(identifier) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0.0 %"), (0.5, "50.0 %"), (0.0001234, "0.012 %"), (Measured(value=1.0), "100.0 %")],
)
def test_a_small_share_is_not_rounded_to_nothing(share, words):
    assert wording.percent(share) == words


def test_what_has_no_number_says_why():
    few = NotMeasurable(reason="0 clicks")
    for worded in (wording.number, wording.percent, wording.interval):
        assert worded(few) == "not measurable: 0 clicks"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"), (0.0, "0 s"), (0.42, "0.42 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (60, "1 min"),
        (192, "3 min 12 s"), (3599.7, "1 h"), (7500, "2 h 5 min"), (360_000, "100 h"),
    ],
)  # fmt: skip
def test_durations(seconds, words):
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("amount", "words"),
    [(None, "–"), (0, "0 B"), (1023, "1,023 B"), (1024, "1 KiB"), (1_288_490_188, "1.2 GiB"), (2**62, "4.19e+06 TiB")],
)
def test_memory(amount, words):
    assert wording.memory(amount) == words


@pytest.mark.parametrize(
    ("amount", "words"), [(None, "–"), (0.0, "0.00 EUR"), (0.01234, "0.012 EUR"), (1234.5, "1,234.50 EUR")]
)
def test_prices(amount, words):
    assert wording.price(amount, "EUR") == words


def test_counts_p_values_and_single_facts():
    assert (wording.count(1, "click"), wording.count(1200, "click")) == ("1 click", "1,200 clicks")
    assert (wording.p_value(0.0004), wording.p_value(0.0126)) == ("< 0.001", "0.013")
    assert [wording.value(found) for found in (None, True, 1200, 0.123456, -9.132e-5, 3e-8, "as is")] == [
        "–", "yes", "1,200", "0.1235", "-0.000091", "3e-08", "as is",
    ]  # fmt: skip
