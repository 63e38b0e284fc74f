"""The child process of tracking: one finished run into wandb. Run as `python -m infra.wandb_mirror run.json`."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from infra.tracking import TrackedRun


def main(arguments: list[str]) -> int:
    """Mirror the run described by the JSON file; returns 0, 1 on trouble (one line on stderr), 2 if called wrongly."""
    if len(arguments) != 1:
        print("usage: python -m infra.wandb_mirror RUN.json", file=sys.stderr)
        return 2
    try:
        mirror(TrackedRun.model_validate_json(Path(arguments[0]).read_text()))
    except Exception as error:  # its reader is a log line of the run that is mirrored
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def mirror(run: TrackedRun) -> None:
    """Write config, curves, table and artifact of a finished run to wandb."""
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        init_timeout=run.wait_seconds,
        finish_timeout=run.wait_seconds,
        finish_timeout_raises=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
    )
    started = wandb.init(
        project=run.project,
        id=run.run_id,
        name=run.name,
        group=run.group,
        job_type=run.job_type,
        config=run.config,
        mode=run.mode,
        dir=str(run.directory),
        settings=settings,
    )
    if run.curves is not None:
        for step, values in curve_points(run.curves):
            started.log(values, step=step)
    if run.table_rows:
        started.log({"results": results_table(run.table_rows)})
    if run.artifact_dir is not None:
        artifact = wandb.Artifact(run.artifact_name, type="model", metadata={"run_id": run.run_id})
        artifact.add_dir(str(run.artifact_dir))
        started.log_artifact(artifact)
    started.finish(exit_code=0)


def curve_points(curves: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Steps and their finite numbers from metrics.jsonl.

    A line's own "step" counts unless it goes back; a line without one is a step of its own. Names are prefixed by the
    line's "kind" where it has one; nested objects are joined with "/". A last line cut off by a kill is left out.
    """
    step = -1
    with curves.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                point = json.loads(line)
            except json.JSONDecodeError:
                continue
            if not isinstance(point, dict):
                continue
            own = point.pop("step", None)
            step = max(step, own) if isinstance(own, int) else step + 1
            kind = point.pop("kind", None)
            values = dict(_numbers(point, f"{kind}/" if isinstance(kind, str) else ""))
            if values:
                yield step, values


def _numbers(point: dict[str, JsonValue], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in point.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield prefix + name, value


def results_table(rows: list[dict[str, JsonValue]]) -> Any:
    """A wandb.Table with the union of the rows' keys as columns, in order of appearance."""
    import wandb

    columns: list[Any] = list(dict.fromkeys(name for row in rows for name in row))
    return wandb.Table(
        columns=columns, data=[[row.get(name) for name in columns] for row in rows], allow_mixed_types=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
