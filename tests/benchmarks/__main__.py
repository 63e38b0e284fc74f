"""`make bench`: one JSON line a measurement, in rows per CPU second: machines are noisy, so no wall times."""

import argparse
import json
import tempfile
from contextlib import nullcontext
from pathlib import Path

from data_checks.receipts import Receipt
from tests.benchmarks.raw_days import DAY, RawDays
from tests.benchmarks.scaling import measure_day
from tests.benchmarks.training_speed import measure_training


def main() -> None:
    """Generate logs, measure the data steps on them, plain pandas beside, then training on the smallest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--impressions", default="100000,300000,1000000", help="volumes of the measured day")
    parser.add_argument("--pandas-up-to", type=int, default=1_000_000, help="largest volume that pandas is given")
    parser.add_argument("--root", type=Path, help="folder whose generated logs are kept; a temporary one if absent")
    parser.add_argument("--threads", type=int, default=1, help="of training; the data steps are given one core")
    parser.add_argument("--without-training", action="store_true")
    arguments = parser.parse_args()
    volumes = sorted(int(volume) for volume in arguments.impressions.split(","))
    kept = nullcontext(arguments.root) if arguments.root else tempfile.TemporaryDirectory(prefix="postclick-bench-")
    with kept as folder:
        root = Path(folder).resolve()
        for measurement in measure_day(root=root, volumes=volumes, pandas_up_to=arguments.pandas_up_to):
            print(json.dumps(measurement), flush=True)
        if not arguments.without_training:
            raw = RawDays(root, volumes[0])
            receipt = Receipt.model_validate_json(raw.file("receipt.json").read_bytes())
            days = [(DAY, raw.file("admitted.parquet"), receipt)]
            for measurement in measure_training(root=raw.file("training"), days=days, threads=arguments.threads):
                print(json.dumps(measurement), flush=True)


main()
