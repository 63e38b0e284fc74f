"""What assets are handed to work with: store, registry, folders and how children are started; no asset logic."""

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg

from infra.artifacts import ArtifactStore
from infra.child_process import run_child
from infra.object_store import ObjectStore
from infra.registry import ModelRegistry
from infra.scratch import scratch_folder
from ml.data.sources.raw_files import RawFeed


class DataRefused(ValueError):
    """Data that may not be used: what is wrong with it and what to do. Trying again does not help."""


@dataclass(frozen=True)
class Tracking:
    """How finished runs are mirrored to the experiment tracker; `environment` alone holds its key."""

    project: str
    online: bool
    timeout_seconds: float
    folder: Path
    environment: Mapping[str, str]
    command: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"Tracking(project={self.project!r}, online={self.online})"


@dataclass(frozen=True)
class Prices:
    """What an hour of a CPU core and of a GPU costs, in `currency`; None where nobody has said: it is not guessed."""

    per_cpu_hour: float | None = None
    per_gpu_hour: float | None = None
    currency: str = ""


@dataclass(frozen=True)
class Platform:
    """The outside world of one dataset, the same for every asset: laptop and cluster differ in what is put in here.

    `feed_root` is where a synthetic log's raw files are generated, `feed` what raw files in buckets are read from (a
    log in folders needs none), `cache_root` holds what can be made again,
    `child_environment` is the whole environment of a computing child (no secret is in it). `dataset_argument` is what
    people give as `--dataset`, for the commands that pages show them. `window_bytes`, `checkpoint_seconds` and
    `compile_step` say how a training run uses its machine, `folders_in_store` whether what experiments and searches
    write outlives it in the store, `checkpoints_in_store` whether another machine may go on
    from what it kept, `prices` what its hours cost, `metrics_port` where Prometheus may read it meanwhile.
    """

    objects: ObjectStore
    feed_root: Path
    cache_root: Path
    child_environment: Mapping[str, str]
    threads: int
    device: str
    tracking: Tracking
    dataset_argument: str | None = None
    window_bytes: int = 2 * 1024**3
    checkpoint_seconds: float = 300
    compile_step: bool = False
    checkpoints_in_store: bool = False
    folders_in_store: bool = False
    prices: Prices = Prices()
    metrics_port: int | None = None
    feed: RawFeed | None = None

    def address(self, key: str) -> str:
        """What people reach an object of the store by: a path, or s3://…"""
        return f"{self.objects.location.rstrip('/')}/{key}"

    @property
    def artifacts(self) -> ArtifactStore:
        """The artifacts of the chain."""
        return ArtifactStore(self.objects)

    @property
    def registry(self) -> ModelRegistry:
        """The champion and its history."""
        return ModelRegistry(self.objects)

    @property
    def encoded_cache(self) -> Path:
        """Where encoded days are kept between runs."""
        return self.cache_root / "encoded"

    @property
    def checkpoints(self) -> Path:
        """Where training runs that have not ended keep what they would go on from."""
        return self.cache_root / "checkpoints"

    def scratch(self, purpose: str) -> AbstractContextManager[Path]:
        """A folder of its own for one piece of work, removed afterwards."""
        return scratch_folder(self.cache_root / "scratch", purpose=purpose)

    def run_ml(
        self,
        verb: str,
        *,
        spec: Path,
        out: Path,
        on_line: Callable[[str], None],
        check_interrupt: Callable[[], bool] | None = None,
    ) -> None:
        """Run `python -m ml <verb>` as a child process, so that its memory is given back and its end is an exit code.

        Raises DataRefused where the child refused its input (exit code 2), ChildInterrupted where `check_interrupt`
        said so, and ChildFailed for any other failure.
        """
        command = [sys.executable, "-m", "ml", verb, "--spec", str(spec), "--out", str(out)]
        result = run_child(
            command, environment=self.child_environment, on_line=on_line, check_interrupt=check_interrupt
        )
        if result.exit_code == 2:
            raise DataRefused("\n".join(result.last_lines[-20:]))
        result.raise_on_failure()


class RefusingIOManager(dg.IOManager):
    """Stores and loads nothing: assets write through the store, and nothing is ever pickled by accident."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Raise TypeError unless the output carries nothing."""
        if obj is not None:
            raise TypeError(
                f"{context.name} returned a {type(obj).__name__}; Postclick's assets store through Platform.artifacts "
                "and return no value"
            )

    def load_input(self, context: dg.InputContext) -> NoReturn:
        """Raise TypeError: assets read their inputs from the store, where hashes are checked."""
        raise TypeError(f"{context.name} was to be loaded by an IO manager; read it through Platform.artifacts")
