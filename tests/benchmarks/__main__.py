"""`make bench`: one JSON line a measurement, in rows per CPU second: machines are noisy, so no wall times."""

import argparse
import json
import tempfile
from datetime import date
from pathlib import Path

from tests.benchmarks.data_speed import measure_data
from tests.benchmarks.training_speed import measure_training

DAYS = [date(2026, 1, 5), date(2026, 1, 6)]


def main() -> None:
    """Generate a log, measure the data steps on it, then training on what they validated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--impressions", type=int, default=200_000, help="impressions of each of the two days")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postclick-bench-") as folder:
        root = Path(folder)
        validated = []
        for measurement in measure_data(root=root, days=DAYS, impressions=arguments.impressions, into=validated):
            print(json.dumps(measurement), flush=True)
        for measurement in measure_training(root=root, days=validated, threads=arguments.threads):
            print(json.dumps(measurement), flush=True)


main()
