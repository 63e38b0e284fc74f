"""Runs the steps of one day at several volumes, each in a child process, and fits how their cost grows."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.data_speed import TRAILING_IMPRESSIONS

BOTH = "join and validate"


def measure_day(*, root: Path, volumes: Sequence[int], pandas_up_to: int) -> Iterator[dict[str, Any]]:
    """A measurement a step and volume, then the exponent of the cost of both: 1 is linear; a fixed cost lowers it."""
    for step in ("join", "validate", "agreement"):
        outcome = _child(step, root=root, impressions=TRAILING_IMPRESSIONS)
    yield outcome
    costs: dict[int, float] = {}
    for impressions in volumes:
        steps = [_child(step, root=root, impressions=impressions) for step in ("join", "validate")]
        rows, cost = steps[1]["rows"], sum(step["cpu_seconds"] for step in steps)
        both = {"step": BOTH, "impressions": impressions, "rows": rows, "cpu_seconds": round(cost, 3)}
        steps.append(both | {"peak_rss_mib": max(step["peak_rss_mib"] for step in steps)})
        if impressions <= pandas_up_to:
            steps.append(_child("pandas", root=root, impressions=impressions))
        for step in steps:
            yield step | {"rows_per_cpu_second": round(step["rows"] / step["cpu_seconds"])}
        costs[rows] = cost
    if len(costs) > 1:
        largest = dict(sorted(costs.items())[-2:])
        yield {
            "step": BOTH,
            "rows": list(costs),
            "cost_grows_with_rows_to_the": round(exponent(costs), 3),
            "between_the_largest_two": round(exponent(largest), 3),
        }


def exponent(costs: dict[int, float]) -> float:
    """The slope of log(cost) over log(rows), by least squares; at least two volumes."""
    points = [(math.log(rows), math.log(cost)) for rows, cost in costs.items()]
    x_mean, y_mean = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / sum((x - x_mean) ** 2 for x, _ in points)


def _child(step: str, *, root: Path, impressions: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.data_speed", step, "--root", str(root)]
    done = subprocess.run([*command, "--impressions", str(impressions)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])
