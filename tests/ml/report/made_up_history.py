"""Made-up days and decisions for the page across days: any number of them, of many verdicts and states of data."""

from datetime import UTC, date, datetime, timedelta

from ml.report.history_day import Estimate, HistoryDay, HistoryDecision, ModelNumbers, TaskNumbers

FIRST = date(2026, 1, 5)
WHY = "The CTCVR AUC differs by +0.0040; the lower bound must exceed 0. This day would show 0.0187 four times in five."


def model(place, *, shift=0.0, name="cstwa"):
    """The numbers of a model that is told apart by its place."""
    wave = 0.76 + 0.02 * ((place * 7) % 11) / 11 + shift
    tasks = {
        task: TaskNumbers(
            auc=Estimate(value=wave + more, lower=wave + more - 0.012, upper=wave + more + 0.011),
            log_loss=0.12 + (place % 5) / 500,
            pcoc=0.9 + (place % 7) / 30,
        )
        for task, more in (("ctr", 0.03), ("cvr", -0.05), ("ctcvr", 0.0))
    }
    return ModelNumbers(model_id=f"{place:064x}", model=name, as_of=FIRST + timedelta(days=place), tasks=tasks)


def judged(place, *, verdict="rejected", **changes):
    """A day whose model was judged beside a champion."""
    day = FIRST + timedelta(days=place)
    values = {
        "day": day,
        "verdict": verdict,
        "data": "admitted",
        "data_why": "admitted",
        "reasons": tuple(f"{part}." for part in WHY.removesuffix(".").split(". ")),
        "impressions": 26_000,
        "clicks": 5_000,
        "conversions": 700 + place % 90,
        "mature": True,
        "challenger": model(place, shift=0.004),
        "champion": model(0),
        "auc_difference": Estimate(value=0.004, lower=-0.009, upper=0.017),
        "report": f"evaluation_report/{day}/{place:016x}/report.html",
    }
    return HistoryDay(**(values | changes))


def decided(number, *, kind="rejected", place=None, who="dagster run 652b8082", champion=0, effect=None, why=WHY):
    """The number-th decision, made at hour `number` after the first day, about the model of `place`."""
    place = number if place is None else place
    return HistoryDecision(
        decision_id=f"{number:08}",
        kind=kind,
        model_id=f"{place:064x}",
        as_of=FIRST + timedelta(days=place),
        at=datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(hours=number),
        who=who,
        reason=why,
        champion_id=f"{champion:064x}",
        took_effect=effect,
    )


def long_history(count):
    """`count` days, of which every ninth promoted, every seventh without model, every eleventh refused; decisions."""
    days, decisions = [], []
    for place in range(count):
        day = FIRST + timedelta(days=place)
        if place % 11 == 5:
            days.append(HistoryDay(day=day, verdict="data_refused", data="refused", data_why="refused: too few rows"))
        elif place % 7 == 3:
            days.append(HistoryDay(day=day, verdict="not_run", data="none"))
        else:
            verdict = "promoted" if place % 9 == 0 else "rejected"
            days.append(judged(place, verdict=verdict, data="accepted" if place % 13 == 0 else "admitted"))
            effect = True if verdict == "promoted" else None
            decisions.append(decided(len(decisions) + 1, kind=verdict, place=place, effect=effect))
    return days, decisions
