"""The command `postclick serve`: the code server of a deployment, and its metrics beside it; the image starts it."""

import runpy
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import dagster as dg
import typer

from assets.partitions import GPU_POOL
from ml.data.dataset import DatasetSpec
from orchestration.build import build_platform
from orchestration.dataset_option import DatasetOption, open_dataset
from orchestration.instance import open_instance
from orchestration.settings import Settings, hand_on_dataset
from orchestration.telling import tell

if TYPE_CHECKING:
    from assets.standing_metrics import PoolUse


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the code server (gRPC).")] = 4000,
    host: Annotated[str, typer.Option(help="Address to listen on; who reaches it can start runs.")] = "127.0.0.1",
    location_name: Annotated[str, typer.Option(help="What Dagster calls the code location.")] = "postclick",
    dataset: DatasetOption = None,
) -> None:
    """Serve the code location as `dagster api grpc` does, and metrics where POSTCLICK_METRICS_PORT says so."""
    settings, spec = open_dataset(dataset)
    hand_on_dataset(settings)
    with ExitStack() as stack:
        if settings.metrics_port is not None:
            _serve_metrics(settings, spec, settings.metrics_port, stack)
        options = [f"--host={host}", f"--port={port}", f"--location-name={location_name}"]
        # Dagster ends on SIGTERM as on Ctrl-C, which a shell's background job is told to ignore.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["dagster", "api", "grpc", *options, "--module-name=orchestration.definitions"]
        runpy.run_module("dagster", run_name="__main__")


def _serve_metrics(settings: Settings, spec: DatasetSpec, port: int, stack: ExitStack) -> None:
    from assets.standing_metrics import StandingCollector
    from infra.metrics_server import served

    instance = stack.enter_context(open_instance(settings, spec))
    collector = StandingCollector(
        build_platform(settings, spec), dataset=spec.name, pools=lambda: _use_of_pools(instance)
    )
    if stack.enter_context(served([collector], port=port, tell=tell)):
        tell(f"metrics are served on port {port}")


def _use_of_pools(instance: dg.DagsterInstance) -> "Mapping[str, PoolUse]":
    from assets.standing_metrics import PoolUse

    info = instance.event_log_storage.get_concurrency_info(GPU_POOL)
    return {
        GPU_POOL: PoolUse(running=len(info.claimed_slots), waiting=info.pending_step_count, places=info.limit),
    }
