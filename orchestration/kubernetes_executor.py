"""The executor `kubernetes`: a pod for each step, by settings; what a pod asks for is in the steps' tags."""

from __future__ import annotations

import time
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.errors import DagsterUnmetExecutorRequirementsError
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from sqlalchemy.exc import OperationalError

from orchestration.pod_settings import PodSettings
from orchestration.pod_steps import LOOK_SECONDS, PodSteps

#: A database that is restarted, or fails over, is back by then.
DATABASE_SECONDS = 120
_BEGUN = (
    dg.DagsterEventType.STEP_WORKER_STARTING,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_RESTARTED,
)


class ResumableExecutor(StepDelegatingExecutor):
    """dagster's executor of steps elsewhere, which also gives back the pool's places of steps that it did not begin.

    dagster 1.13 frees a step's place by the process that claimed it. Where a run's worker was lost and the run is
    resumed, the place of the step that went on meanwhile would be held for the whole run: with one place in the pool
    `gpu`, the model would wait for ever for the embeddings of its own run.
    """

    def _pop_events(
        self, instance: dg.DagsterInstance, run_id: str, seen_storage_ids: set[int]
    ) -> Sequence[dg.DagsterEvent]:
        events = self._events_of_a_living_database(instance, run_id, seen_storage_ids)
        storage = instance.event_log_storage
        if storage.supports_global_concurrency_limits:
            for step_key in _ended_steps(events):
                storage.free_concurrency_slot_for_step(run_id, step_key)
        return events

    def _events_of_a_living_database(
        self, instance: dg.DagsterInstance, run_id: str, seen_storage_ids: set[int]
    ) -> Sequence[dg.DagsterEvent]:
        """dagster itself asks again where it cannot connect; a connection cut in a query would end run and steps."""
        end = time.monotonic() + DATABASE_SECONDS
        while True:
            try:
                return super()._pop_events(instance, run_id, seen_storage_ids)
            except OperationalError:
                if time.monotonic() >= end:
                    raise
                time.sleep(1)


def _ended_steps(events: Sequence[dg.DagsterEvent]) -> list[str]:
    """Steps whose last event among these is their end: one that was begun again holds its place rightly."""
    has_ended: dict[str, bool] = {}
    for event in events:
        if event.step_key is None:
            continue
        if event.is_step_success or event.is_step_failure or event.is_step_up_for_retry:
            has_ended[event.step_key] = True
        elif event.event_type in _BEGUN:
            has_ended[event.step_key] = False
    return [step_key for step_key, is_over in has_ended.items() if is_over]


def kubernetes_executor(settings: PodSettings) -> dg.ExecutorDefinition:
    """dagster-k8s' `k8s_job_executor` with `PodSteps` as its handler.

    A run's config may say `max_concurrent` and `retries`. Who a pod is and what it may do comes from the run launcher
    in dagster.yaml alone: a launchpad that could change it would reach past the launcher's allow-list.
    """

    @dg.executor(
        name="kubernetes",
        config_schema={
            "retries": get_retries_config(),
            "max_concurrent": dg.Field(
                dg.Noneable(int), is_required=False, default_value=None, description="pods of this run at once"
            ),
        },
        requirements=multiple_process_executor_requirements(),
    )
    def kubernetes(context: dg.InitExecutorContext) -> dg.Executor:
        launcher = context.instance.run_launcher
        if not isinstance(launcher, K8sRunLauncher):
            raise DagsterUnmetExecutorRequirementsError(
                "POSTCLICK_EXECUTOR=kubernetes starts pods as K8sRunLauncher is set up in dagster.yaml, and this "
                f"instance has {type(launcher).__name__}: deploy with infra/kubernetes, or unset POSTCLICK_EXECUTOR"
            )
        handler = PodSteps(
            pending_seconds=settings.pod_pending_seconds,
            grace_seconds=settings.pod_grace_seconds,
            gpu_resource=settings.gpu_resource,
            image=None,
            container_context=K8sContainerContext(),
            load_incluster_config=launcher.load_incluster_config,
            kubeconfig_file=launcher.kubeconfig_file,
        )
        return ResumableExecutor(
            handler,
            retries=RetryMode.from_config(context.executor_config["retries"]),  # pyright: ignore[reportArgumentType]
            max_concurrent=context.executor_config["max_concurrent"],  # pyright: ignore[reportArgumentType]
            check_step_health_interval_seconds=LOOK_SECONDS,
            should_verify_step=True,
        )

    return kubernetes
