"""One step of the data chain on one generated day, measured in a process of its own: `... STEP --root --impressions`.

CPU seconds of one core; imports, generation and landing are not counted. The peak memory is the whole process's.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.benchmarks.raw_days import DAY, DAYS, RawDays

#: Volume of the day whose receipt and profile stand for every trailing day; validating it loads what loads late.
TRAILING_IMPRESSIONS = 10_000


def main() -> None:
    """Run one step and print its measurement as a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--impressions", type=int, required=True)
    arguments = parser.parse_args()
    # DuckDB may start two threads: on one core they cost what one does.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    raw = RawDays(arguments.root, arguments.impressions)
    raw.land()
    measured = STEPS[arguments.step](raw)
    print(json.dumps({"step": arguments.step, "impressions": raw.impressions, **measured}), flush=True)


@contextmanager
def measuring() -> Iterator[dict[str, Any]]:
    """A dictionary that is given the block's `cpu_seconds` and the process's `peak_rss_mib` when the block ends."""
    measured: dict[str, Any] = {}
    started = time.process_time()
    yield measured
    measured["cpu_seconds"] = round(time.process_time() - started, 3)
    measured["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def join(raw: RawDays) -> dict[str, Any]:
    """Attribute the day's clicks and conversions, and join them to its impressions."""
    from ml.data.attribution import credit_conversions, resolve_touches
    from ml.data.samples import LabelEvents, join_day, label_horizon

    spec, scratch = raw.spec, raw.file("scratch")
    shown = [raw.landed("impressions", day) for day in DAYS]
    touches = [raw.file(f"touches-{day}.parquet") for day in reversed(DAYS)]
    credits, out = raw.file("credits.parquet"), raw.file("joined.parquet")
    before = raw.landed("clicks", DAYS[0])
    resolve_touches(spec=spec, clicks=before, impressions=shown[:1], scratch=scratch, out=touches[1])
    with measuring() as measured:
        resolve_touches(spec=spec, clicks=raw.landed("clicks"), impressions=shown, scratch=scratch, out=touches[0])
        credit_conversions(
            spec=spec,
            conversions=raw.landed("conversions"),
            touches=touches,
            impressions=shown,
            earlier=[raw.landed("conversions", DAYS[0])],
            scratch=scratch,
            out=credits,
        )
        joined = join_day(
            spec=spec,
            impressions=shown[-1],
            events=LabelEvents(touches=touches[:1], credits=[credits]),
            horizon=label_horizon(spec=spec, last_observed=DAY),
            scratch=scratch,
            out=out,
        )
    return {"rows": joined.rows, **measured}


def validate(raw: RawDays) -> dict[str, Any]:
    """Judge the joined day by all rules, Great Expectations included, split it, and write its profile."""
    from data_checks.receipts import Receipt
    from data_checks.validation import validate_day
    from ml.data.samples import label_horizon

    def judge(of: RawDays, **known: Any) -> Receipt:
        return validate_day(
            samples=of.file("joined.parquet"),
            spec=of.spec,
            day=DAY,
            input_version="bench",
            label_horizon=label_horizon(spec=of.spec, last_observed=DAY),
            events=None,
            admitted_to=of.file("admitted.parquet"),
            quarantined_to=of.file("quarantine.parquet"),
            profile_to=of.file("profile.parquet"),
            **known,
        )

    small = RawDays(raw.root, TRAILING_IMPRESSIONS)
    receipt = judge(small, history=[])
    past = _trailing_days(raw.spec.validation)
    receipts = [
        receipt.model_copy(update={"day": day, "impressions": raw.impressions, "verdict": "admitted", "reasons": ()})
        for day in past
    ]
    profiles = dict.fromkeys(past, small.file("profile.parquet").rename(small.file("trailing_profile.parquet")))
    with measuring() as measured:
        receipt = judge(raw, history=receipts, profiles=profiles)
    raw.file("receipt.json").write_bytes(receipt.canonical_json())
    judged = sum(result.judged > 0 for result in receipt.rules)
    return {
        "rows": receipt.rows_in,
        "quarantined": receipt.quarantined,
        "rules": len(receipt.rules),
        "rules_that_judged": judged,
        **measured,
    }


def _trailing_days(policy: Any) -> list[date]:
    reach = max(value for name, value in policy if name.endswith("_history_days"))
    return [DAY - timedelta(days=age) for age in range(reach, 0, -1)]


def in_pandas(raw: RawDays) -> dict[str, Any]:
    """The join, the rules on rows and the split in plain pandas; no Great Expectations, no profile."""
    from tests.benchmarks.pandas_day import join_in_pandas, validate_in_pandas

    with measuring() as joining:
        samples = join_in_pandas(raw)
    with measuring() as validating:
        validate_in_pandas(raw, samples)
    return {
        "rows": len(samples),
        "join_cpu_seconds": joining["cpu_seconds"],
        "validate_cpu_seconds": validating["cpu_seconds"],
        "cpu_seconds": round(joining["cpu_seconds"] + validating["cpu_seconds"], 3),
        "peak_rss_mib": validating["peak_rss_mib"],
    }


def agreement(raw: RawDays) -> dict[str, Any]:
    """Hold the chain's joined day, masks and split against pandas'; raises AssertionError where they differ."""
    from tests.benchmarks.pandas_day import require_agreement

    return require_agreement(raw)


STEPS: Mapping[str, Callable[[RawDays], dict[str, Any]]] = {
    "join": join,
    "validate": validate,
    "pandas": in_pandas,
    "agreement": agreement,
}

if __name__ == "__main__":
    main()
