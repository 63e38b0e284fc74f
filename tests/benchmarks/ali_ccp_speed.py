"""What reading Ali-CCP's files costs: rows per CPU second beside plain pandas on the same excerpt, and peak memory.

`python -m tests.benchmarks.ali_ccp_speed [--rows 1000000]` prints one JSON line a measurement. The two readers take
turns in one process on one core and make the same rows, which is checked; medians are compared. Memory is that of a
process that lands all days of files with `--rows` samples.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import load_dataset
from ml.data.sources.source import LogSource
from tests.benchmarks.ali_ccp_files import write_ali_ccp

EXCERPT_ROWS, PAIRS = 150_000, 5


def bench_spec(folder: Path) -> DatasetSpec:
    """The shipped spec for files in `folder`."""
    return load_dataset("ali_ccp", environment={"POSTCLICK_DATA": str(folder)})


def every_day(spec: DatasetSpec) -> list[date]:
    """All pseudo-days and the test day."""
    assert spec.days.last is not None
    return [spec.days.first + timedelta(days=n) for n in range((spec.days.last - spec.days.first).days + 1)]


def land(spec: DatasetSpec, root: Path) -> int:
    """Land all days as the asset does; returns the rows."""
    landed = list(LogSource(spec=spec, feed_root=root).land_events(days=every_day(spec), root=root))
    refused = [str(day.refused) for day in landed if day.refused]
    if refused:
        raise RuntimeError(refused[0])
    return sum(day.tables["impressions"].rows for day in landed)


def land_in_pandas(spec: DatasetSpec, root: Path) -> int:
    """The same rows as anyone would write it: split each text, collect dictionaries, merge, write; nothing is checked
    but the counts."""
    rows = 0
    source: Any = spec.source
    for part, days in (("train", every_day(spec)[:-1]), ("test", every_day(spec)[-1:])):
        common = pd.read_csv(
            getattr(source, f"{part}_common"), header=None, names=["index", "count", "features"], dtype=str
        )
        common = pd.DataFrame(_parse(common, spec)).assign(index=common["index"])
        names = ["sample", "click", "conversion", "index", "count", "features"]
        samples = pd.read_csv(getattr(source, f"{part}_skeleton"), header=None, names=names, dtype=str)
        samples = pd.concat([samples[names[:4]], pd.DataFrame(_parse(samples, spec))], axis=1)
        samples["sample"] = samples["sample"].astype("int64")
        samples = samples.sort_values("sample", kind="stable").merge(common, on="index", how="left")
        place = samples.index.to_numpy()
        for number, day in enumerate(days):
            chosen = samples[place * len(days) // len(samples) == number]
            (root / day.isoformat()).mkdir(parents=True, exist_ok=True)
            chosen.to_parquet(root / day.isoformat() / "impressions.parquet", compression="zstd")
            rows += len(chosen)
    return rows


def _parse(table: pd.DataFrame, spec: DatasetSpec) -> list[dict[str, Any]]:
    by_number = {field.source_column: field for field in spec.fields}
    parsed = []
    for count, text in zip(table["count"], table["features"], strict=True):
        row: dict[str, Any] = {}
        weighted: dict[str, list[tuple[float, str]]] = {}
        items = text.split("\x01")
        if len(items) != int(count):
            raise ValueError(f"{count} features announced, {len(items)} found")
        for item in items:
            number, rest = item.split("\x02")
            field = by_number.get(number)
            if field is None:
                continue
            one, value = rest.split("\x03")
            if field.weighted:
                weighted.setdefault(field.name, []).append((float(value), one))
            elif field.kind == "sequence":
                row.setdefault(field.name, []).append(one)
            else:
                row[field.name] = one
        for name, pairs in weighted.items():
            kept = sorted(pairs, key=lambda pair: pair[0])[-spec.field(name).max_length :]
            row[name] = [one for _, one in kept]
            row[f"{name}_weights"] = [value for value, _ in kept]
        parsed.append(row)
    return parsed


def compare(folder: Path) -> None:
    """Print CPU seconds of both readers on one excerpt, and how they compare."""
    write_ali_ccp(folder, rows=EXCERPT_ROWS, test_rows=EXCERPT_ROWS // 6)
    spec = bench_spec(folder.parent)
    readers: dict[str, Callable[[DatasetSpec, Path], int]] = {"postclick": land, "plain pandas": land_in_pandas}
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    rows = 0
    # The first pair warms imports and pages up and is not counted.
    for pair in range(PAIRS + 1):
        for name, reader in readers.items():
            started = time.process_time()
            rows = reader(spec, folder / name)
            if pair:
                seconds[name].append(time.process_time() - started)
    _require_agreement(spec, folder / "postclick", folder / "plain pandas")
    for name, measured in seconds.items():
        median = statistics.median(measured)
        _say(step=f"land ali_ccp: {name}", rows=rows, cpu_seconds=median, rows_per_cpu_second=round(rows / median))
    ratios = [slow / fast for fast, slow in zip(seconds["postclick"], seconds["plain pandas"], strict=True)]
    _say(step="land ali_ccp: pandas / postclick", median=statistics.median(ratios), least=min(ratios), most=max(ratios))


def _require_agreement(spec: DatasetSpec, ours: Path, theirs: Path) -> None:
    columns = ", ".join(
        f'"{name}"' for field in spec.fields for name in (field.name, *([field.weights_column] * field.weighted))
    )
    for day in every_day(spec):
        one, other = (
            f"SELECT {columns} FROM '{root / day.isoformat()}/impressions.parquet'" for root in (ours, theirs)
        )
        differing = duckdb.sql(f"SELECT count(*) FROM (({one}) EXCEPT ALL ({other}))").fetchall()
        if differing != [(0,)]:
            raise RuntimeError(
                f"{day}: {differing[0][0]} rows differ between the readers; compare {ours} with {theirs}"
            )


def measure_memory(folder: Path, rows: int) -> None:
    """Land files with `rows` samples in a process of its own and print what it took."""
    write_ali_ccp(folder, rows=rows, test_rows=rows // 7)
    print(
        subprocess.check_output([sys.executable, "-m", __spec__.name, "--land", str(folder.parent)], text=True), end=""
    )


def land_alone(folder: Path) -> None:
    """Land all days of the files below `folder` and print rows, CPU seconds and peak memory of this process."""
    spec = bench_spec(folder)
    before = _peak_mib()
    started = time.process_time()
    rows = land(spec, folder / "landed")
    seconds = time.process_time() - started
    _say(
        step="land ali_ccp: memory",
        rows=rows,
        cpu_seconds=seconds,
        rows_per_cpu_second=round(rows / seconds),
        peak_mib=_peak_mib(),
        before_mib=before,
    )


def _peak_mib() -> int:
    """The most memory that this program has held; getrusage's figure would be its parent's where that was greater."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def _say(**measurement: Any) -> None:
    rounded = {name: round(value, 2) if isinstance(value, float) else value for name, value in measurement.items()}
    print(json.dumps(rounded), flush=True)


def main() -> None:
    """Compare with pandas, then measure memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="samples of the files that memory is measured on")
    parser.add_argument("--land", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if arguments.land:
        land_alone(arguments.land)
        return
    with tempfile.TemporaryDirectory(prefix="postclick-bench-") as folder:
        compare(Path(folder) / "excerpt" / "ali_ccp")
        measure_memory(Path(folder) / "long" / "ali_ccp", arguments.rows)


if __name__ == "__main__":
    main()
