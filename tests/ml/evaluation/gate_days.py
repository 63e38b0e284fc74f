"""Records of judged days for the tests of the gate: good ones unless they are told otherwise; it tests nothing."""

from datetime import date, timedelta

from ml.data.policy import GateSpec
from ml.evaluation.evaluated_day import POPULATIONS, TASKS, EvaluatedDay, ModelFacts, TaskComparison, TaskMetrics
from ml.evaluation.gate import GateFacts, judge
from ml.evaluation.intervals import Difference, Interval
from ml.evaluation.metrics import Measured, NotMeasurable

DAY = date(2026, 11, 15)
NOTHING = NotMeasurable(reason="0 conversions in 9 rows")
GOOD_FACTS = GateFacts(
    mature=True,
    judged_day_admitted=True,
    inputs_admitted=True,
    judged_day_in_training=False,
    smoke_test_max_difference=1e-7,
)


def interval(lower, **more):
    numbers = {"estimate": lower + 0.02, "lower": lower, "upper": lower + 0.04, "standard_error": 0.01}
    return {**numbers, "confidence": 0.95, "replicates": 1000, "units": 500, **more}


def level(estimate, lower, upper):
    """A PCOC with its interval, as task_metrics takes them."""
    shown = Interval(**interval(lower, estimate=estimate, upper=upper))
    return {"pcoc": Measured(value=estimate), "pcoc_interval": shown}


def task_metrics(task, **changed):
    values = {
        "task": task,
        "population": POPULATIONS[task],
        "rows": 10_000,
        "positives": 300,
        "auc": Measured(value=0.7),
        "auc_interval": Interval(**interval(0.68)),
        "log_loss": Measured(value=0.1),
        "base_rate_log_loss": Measured(value=0.12),
        "normalised_entropy": Measured(value=0.9),
        "ece": Measured(value=0.001),
        "ece_by_chance": Measured(value=0.0008),
    }
    return TaskMetrics(**{**values, **level(1.02, 0.92, 1.13), **changed})


def evaluated_day(*, ctcvr=None, as_of=DAY, training_days=(), tasks=None, **changed):
    values = {"impressions": 10_000, "clicks": 900, "conversions": 300, "units": 500, "unusable_predictions": 0}
    metrics = {task: task_metrics(task) for task in TASKS}
    metrics |= {"ctcvr": task_metrics("ctcvr", **(ctcvr or {}))} | (tasks or {})
    model = ModelFacts(model_id="m", model="esmm", as_of=as_of, training_days=training_days)
    return EvaluatedDay(model=model, day=DAY, tasks=metrics, **{**values, **changed})


def difference(lower):
    return Difference(**interval(lower, p_value=0.03, smallest_detectable=0.028))


def comparison(*, auc=0.01, log_loss=-0.02):
    """Lower bounds of the CTCVR differences, or answers that replace them; log loss's estimate is 0.02 above."""
    answers = [difference(value) if isinstance(value, float) else value for value in (auc, log_loss)]
    return {
        task: TaskComparison(task=task, auc_difference=answers[0], log_loss_difference=answers[1]) for task in TASKS
    }


def with_task(task, **changed):
    """The comparison, one task's differences changed."""
    compared = comparison()
    return compared | {task: compared[task].model_copy(update=changed)}


def first(day=None, *, facts=GOOD_FACTS, gate=None, **fact_changes):
    return judge(
        challenger=day or evaluated_day(), champion=None, comparison=None,
        gate=gate or GateSpec(), facts=facts.model_copy(update=fact_changes),
    )  # fmt: skip


def against_champion(compared=None, *, day=None, champion=None, gate=None, **fact_changes):
    return judge(
        challenger=day or evaluated_day(),
        champion=champion or evaluated_day(as_of=DAY - timedelta(days=1)),
        comparison=compared or comparison(),
        gate=gate or GateSpec(),
        facts=GOOD_FACTS.model_copy(update=fact_changes),
    )


def verdict(decision, rule):
    return next(row for row in decision.rules if row.rule == rule).verdict


def why(decision, rule):
    return next(row for row in decision.rules if row.rule == rule).why
