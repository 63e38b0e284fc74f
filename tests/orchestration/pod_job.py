"""Jobs whose steps run in pods, for the tests of the executor; a pod's process loads them by the path of this file."""

import os
import time
from pathlib import Path

import dagster as dg
from pydantic import BaseModel

from assets.resources import Platform, Tracking
from assets.training_children import trained
from infra.local_object_store import LocalObjectStore
from orchestration.kubernetes_executor import kubernetes_executor
from orchestration.settings import read_settings

FOLDER = "POD_JOB_FOLDER"


def job_of(*, max_retries: int, tags: dict[str, object]) -> dg.JobDefinition:
    @dg.op(retry_policy=dg.RetryPolicy(max_retries=max_retries), tags=tags)
    def train(context: dg.OpExecutionContext) -> None:
        folder = Path(os.environ[FOLDER])
        with (folder / "attempts").open("a") as attempts:
            print(context.retry_number, file=attempts)
        while (folder / f"wait-{context.retry_number}").exists():
            time.sleep(0.05)

    @dg.job(executor_def=kubernetes_executor(read_settings()), name=f"pods_{max_retries}")
    def made() -> None:
        train()

    return made


def trains() -> dg.JobDefinition:
    return job_of(max_retries=2, tags=read_settings({"executor": "kubernetes", "gpus": "1"}).step_pods().training)


class Spec(BaseModel):
    """Stands in for a training spec: what the stand-in trainer reads."""

    checkpoints: Path

    def identity(self) -> str:
        return "i" * 64


def trains_in_store() -> dg.JobDefinition:
    """A training whose every attempt runs on a machine of its own: nothing is shared but the store."""

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def train(context: dg.OpExecutionContext) -> None:
        folder = Path(os.environ[FOLDER])
        machine = folder / f"machine-{context.retry_number}"
        platform = Platform(
            objects=LocalObjectStore(folder / "store"),
            feed_root=machine / "feed",
            cache_root=machine / "cache",
            child_environment={"PYTHONPATH": os.environ["PYTHONPATH"], "PATH": os.environ["PATH"]},
            threads=1,
            device="cpu",
            tracking=Tracking(project="", online=False, timeout_seconds=1, folder=machine, environment={}),
            checkpoints_in_store=True,
        )
        with platform.scratch("train") as scratch:
            trained(
                platform,
                Spec(checkpoints=platform.checkpoints),  # pyright: ignore[reportArgumentType]
                find=lambda: platform.artifacts.find("models/m"),
                publish=lambda out: platform.artifacts.publish_directory("models/m", out, metadata={}),
                run_id=context.run_id,
                folder=scratch,
                log=context.log.info,
            )

    @dg.job(executor_def=kubernetes_executor(read_settings()))
    def stored() -> None:
        train()

    return stored
