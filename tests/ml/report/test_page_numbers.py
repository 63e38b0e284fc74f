"""The report page's numbers: every one of the evaluation and of the facts is on it, with what it is measured on."""

from ml.evaluation.evaluated_day import TASKS
from ml.evaluation.measurement import Measured
from ml.evaluation.value_metrics import ValueMetrics
from tests.ml.report.full_facts import CHAMPION_INSPECTION, FULL_FACTS, HOSTILE
from tests.ml.report.parsed_page import Page
from tests.ml.report.rendered_pages import everything

DIGITS = {
    "auc": 4, "gauc": 4, "pr_auc": 4, "log_loss": 5, "base_rate_log_loss": 5, "normalised_entropy": 4, "pcoc": 3,
    "ece": 5, "ece_by_chance": 5,
}  # fmt: skip


def test_every_metric_of_both_models_is_there(rendered):
    evaluation, _, text = everything(rendered)
    page = Page(text)
    metrics = page.words[page.words.index("How well it ranks") :]
    for day, role in ((evaluation.challenger, "challenger"), (evaluation.champion, "champion")):
        for task in TASKS:
            found = day.tasks[task]
            assert f"{task.upper()} {role}, on {found.population} {found.rows:,} {found.positives:,}" in metrics
            for name, digits in DIGITS.items():
                assert f" {getattr(found, name).value:.{digits}f} " in metrics, (role, task, name)
            for bounds, digits in ((found.auc_interval, 4), (found.gauc_interval, 4), (found.pcoc_interval, 3)):
                assert f" {bounds.lower:.{digits}f} to {bounds.upper:.{digits}f} " in metrics
            assert f" {100 * found.gauc_left_out.value:.1f} % " in metrics
    for ceiling in evaluation.ceilings.values():
        assert f"{ceiling.auc.value:.4f} {100 * ceiling.share_above_chance.value:.1f} % of it above chance" in metrics
        assert f" {100 * ceiling.share.value:.1f} % of it" in metrics
    assert "Base rates of the training days: CTR 30.00 %, CVR 35.00 %, CTCVR 10.00 %." in metrics


def test_the_comparison_names_its_rows_users_and_replicates(rendered):
    evaluation, _, text = everything(rendered)
    words = Page(text).words
    compared = words[words.index("Challenger against champion") : words.index("How well it ranks")]
    for task in TASKS:
        ours, theirs = evaluation.challenger.tasks[task], evaluation.champion.tasks[task]
        for name, metric, digits in (("AUC", "auc", 4), ("GAUC", "gauc", 4), ("log loss", "log_loss", 5)):
            found = getattr(evaluation.comparison[task], f"{metric}_difference")
            better = "lower" if metric == "log_loss" else "higher"
            decides = " decides" if (task, metric) == ("ctcvr", "auc") else ""
            p_value = "< 0.001" if found.p_value < 0.001 else f"{found.p_value:.3f}"
            assert (
                f"{task.upper()} {name}{decides} on {ours.population}, {better} is better "
                f"{getattr(ours, metric).value:.{digits}f} "
                f"{getattr(theirs, metric).value:.{digits}f} {found.estimate:+.{digits}f} "
                f"{found.lower:+.{digits}f} to {found.upper:+.{digits}f} {p_value} "
                f"{found.smallest_detectable:.{digits}f} {found.units:,} {found.replicates:,} replicates"
            ) in compared
    assert "Order violations, the share of rows with p_ctcvr above p_ctr: 0.00 % of the challenger, 0.00 %" in compared


def test_calibration_before_and_after_and_why_it_was_chosen(rendered):
    evaluation, _, text = everything(rendered)
    words = Page(text).words
    assert "CVR: the lowest log loss. Fitted on 1,500 rows, 160 conversions." in words
    assert "histogram by page – – – – fewer than 50 positives" in words
    assert len(evaluation.calibration) == 2
    for effect in evaluation.calibration:
        pairs = [
            f"{getattr(each, when).value:.{digits}f}"
            for each, digits in ((effect.log_loss, 5), (effect.pcoc, 3), (effect.ece, 5))
            for when in ("before", "after")
        ]
        assert " ".join((f"{effect.rows:,} rows, {effect.positives:,} conversions", *pairs)) in words
        for bucket in effect.buckets:
            assert (
                f"{bucket.bucket} {bucket.rows:,} {bucket.positives:,} {bucket.observed.value:.5f} "
                f"{bucket.before.value:.3f} {bucket.after.value:.3f}"
            ) in words


def test_every_slice_is_there_and_those_not_measurable_stand_last(rendered):
    evaluation, _, text = everything(rendered)
    words = Page(text).words
    table = words[words.index("Field Value Task Rows") : words.index("3 epochs")]
    measured = [each for each in evaluation.slices if isinstance(each.auc, Measured)]
    assert 20 < len(measured) < len(evaluation.slices) == 192
    place = 0
    for each in measured:
        row = (
            f"{each.field} {each.value} {each.task.upper()} on {evaluation.challenger.tasks[each.task].population} "
            f"{each.rows:,} {each.positives:,} {each.auc.value:.4f} {each.champion_auc.value:.4f} "
            f"{each.shown.estimate:+.4f} ± {each.shown.standard_error:.4f} {each.log_loss.value:.5f} "
            f"{each.pcoc.value:.3f}"
        )
        place = table.index(row, place)
    assert any(each.value == HOSTILE for each in measured)
    for each in evaluation.slices:
        if each not in measured:
            assert table.index(f"{each.positives:,} not measurable {each.auc.reason} – – – –") > place


def test_the_facts_beside_the_evaluation_are_there(rendered):
    words = Page(everything(rendered)[2]).words
    for said in (
        "3 epochs",
        "Provisional. Conversions of 2026-11-15 may still come: a day’s labels are final after 2 days, these from",
        "Of 1,234 conversions, 91.2 % came within the conversion window of 2 d; half of them within 1.11 h",
        "2026-11-14 admitted restated since 24,000 ffffffffffff",
        "Looked at on 20,000 rows of the judged day, 4,321 clicks, 321 conversions.",
        "Mean weight of a row in the conversion loss curse_escaper.mean_weight 1.038 1.5",
        "CTR, learner 1: general experts gate.ctr.learner0.general 0.25 –",
        "a note on field",
        "the champion's bundle could not be inspected",
        "Users user_id 1,500 8 0.234 CTR the ctr table 0.123 41.0 % CVR the cvr table not measurable 0 conversions",
        "CTR AUC lost on impressions, of 0.7654 CVR AUC lost on clicked impressions CTCVR AUC lost",
        "field +0.0312 ± 0.0011 not measurable 0 conversions in 5 rows -0.0021 ± 0.0007",
        "mean of 2 shuffles of 20,000 rows",
        "CTR embeddings 3 min 12 s 6 min 11 s – 1.2 GiB – –",
        "CVR model without the resumed part 1 min 5 s 2 min 1 s 1 min – – 0.012 EUR",
        "An hour of one CPU core is priced at 0.04 EUR. An hour of one GPU is priced at 2.50 EUR.",
        "Bootstrap seed 0, 200 replicates by user, 95 % intervals",
        f"Challenger cstwa as of 2026-11-15: {'c' * 64} Champion esmm as of 2026-11-14: {'a' * 64}",
        "slice_min_rows 300",
    ):
        assert said in words


def test_a_champion_of_another_kind_is_not_set_beside(rendered):
    other = CHAMPION_INSPECTION.model_copy(update={"model": "esmm"})
    words = Page(everything(rendered, shown=FULL_FACTS.model_copy(update={"champion_inspection": other}))[2]).words
    assert "Measure Challenger Curse escaper (CE) Mean weight of a row" in words
    assert "curse_escaper.mean_weight 1.038 Gates" in words


def test_predicted_order_values_have_their_own_table(rendered):
    values = ValueMetrics(
        population="converted impressions", rows=729,
        bias=Measured(value=1.125), mae=Measured(value=12.341), gini=Measured(value=0.4321),
    )  # fmt: skip

    def change(evaluation):
        challenger = evaluation.challenger.model_copy(update={"values": (values,)})
        return evaluation.model_copy(update={"challenger": challenger})

    words = Page(rendered(change=change)[2]).words
    assert "On converted impressions challenger 729 1.125 12.34 0.4321" in words
    assert "How right its order values are" not in Page(rendered()[2]).text
