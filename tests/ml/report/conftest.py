"""The judged days that the tests of this folder share."""

from tests.ml.judged_days import challenger_facts, champion_facts, gate, good_facts, judged_day
from tests.ml.report.rendered_pages import rendered

__all__ = ["challenger_facts", "champion_facts", "gate", "good_facts", "judged_day", "rendered"]
