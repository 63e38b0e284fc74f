"""Runs each step as a Kubernetes Job and tells what its pod waits for or ended of; dagster-k8s does the rest.

Loaded only where the executor is `kubernetes`: a laptop has no Kubernetes client.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dagster import DagsterEvent
from dagster._core.events import EngineEventData
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandlerContext
from dagster_k8s.client import DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError
from dagster_k8s.executor import K8sStepHandler
from dagster_shared.error import SerializableErrorInfo

from infra.pod_endings import pod_waiting
from orchestration.kubernetes_jobs import ENDED_PHASES, KubernetesJob, is_told_to_end, pod_phase, pod_uid, server_answer

#: Seconds between two looks at the pods: waiting is told within a minute.
LOOK_SECONDS = 20
#: A pod that ends has its grace period, and its node some time to say so; after that its node is lost.
_NODE_SECONDS = 60
_POD_NAME = re.compile(r'pods "[^"]*"')
_SIZES = "POSTCLICK_GPUS, POSTCLICK_TRAINING_… and POSTCLICK_DATA_… say what a step's pod asks for"


@dataclass
class _Watched:
    """What is known of one Job between two looks. Times are this process's own: clocks of machines differ."""

    since: float
    launched: bool = False
    #: Why the API server could not take it; another try may go well.
    not_launched: str | None = None
    #: The pod that was seen running: another in its place cannot go on with the step.
    pod: str | None = None
    ending: dict[str, float] = field(default_factory=dict)
    told: str | None = None
    suspected: bool = False
    is_over: bool = False


class PodSteps(K8sStepHandler):
    """dagster-k8s' handler of steps, with eyes for their pods.

    Beyond what the Job's status says it sees that a pod waits (told as an event; after `pending_seconds` the step
    fails), that it is still writing its checkpoint (a Job counts it as failed already), that it was replaced or ended
    without a word (the Job then looks well for ever, dagster issue 33755), and why it ended.
    A step that is judged lost is begun again by its RetryPolicy, unless it would only end the same way.
    """

    def __init__(
        self,
        *,
        pending_seconds: float,
        grace_seconds: float,
        gpu_resource: str,
        clock: Callable[[], float] = time.monotonic,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._pending_seconds = pending_seconds
        self._ending_seconds = grace_seconds + _NODE_SECONDS
        self._gpu_resource = gpu_resource
        self._clock = clock
        self._watched: dict[str, _Watched] = {}

    @property
    def name(self) -> str:
        """How the run's events call it."""
        return "PodSteps"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Create the step's Job. What the API server refuses for good fails the step at once, in the server's words."""
        job_name = self._get_k8s_step_job_name(step_handler_context)
        watched = self._watched[job_name] = _Watched(since=self._clock(), launched=True)
        self._tell_of_the_last_attempt(step_handler_context)
        try:
            yield from super().launch_step(step_handler_context)
        except (DagsterK8sUnrecoverableAPIError, DagsterK8sAPIRetryLimitExceeded) as refusal:
            status, words = server_answer(refusal.k8s_api_exception)
            if status == 409:
                self._tell(step_handler_context, f"Kubernetes job {job_name} is there already, and is watched")
            elif _is_final(status) and "exceeded quota" not in words:
                self._fail(step_handler_context, watched, f"Kubernetes refused the step's pod: {words}; {_SIZES}")
            else:
                watched.not_launched = f"Kubernetes did not take job {job_name}: {words}"

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Whether the step may still come to an end, as far as its Job and pods show."""
        name = self._get_k8s_step_job_name(step_handler_context)
        watched = self._watched.setdefault(name, _Watched(since=self._clock()))
        if watched.is_over:
            return CheckStepHealthResult.healthy()
        if watched.not_launched is not None:
            return self._lost(watched, watched.not_launched)
        job = self._look(step_handler_context, name)
        if any(self._is_ending(watched, pod) for pod in job.pods):
            return CheckStepHealthResult.healthy()
        # One that was told to end and has had its time is on a node that nobody hears of.
        pods = [pod for pod in job.pods if not is_told_to_end(pod) or pod_phase(pod) in ENDED_PHASES]
        pod = pods[-1] if pods else None
        # What is not there any more cannot go on: Kubernetes' replacement finds the step begun, and refuses it.
        is_replaced = watched.pod is not None and watched.pod not in map(pod_uid, pods)
        if not is_replaced and job.status is not None and not job.is_finished and pod_phase(pod) not in ENDED_PHASES:
            watched.suspected = False
            if pod is not None and pod_phase(pod) != "Pending":
                watched.pod = pod_uid(pod)
                return CheckStepHealthResult.healthy()
            return self._waits(step_handler_context, watched, job, pod)
        # Between the last look at the run's events and this one the step may have told its end: looked at once more.
        if not watched.suspected and (watched.launched or job.status is not None):
            watched.suspected = True
            return CheckStepHealthResult.healthy()
        ending = job.ending(None if is_replaced else pod)
        if job.status is not None and not job.is_finished:
            job.delete()
        sentence = f"{ending.sentence} (Kubernetes job {name})"
        if ending.may_retry:
            return self._lost(watched, sentence)
        return self._fail(step_handler_context, watched, sentence)

    def _tell_of_the_last_attempt(self, context: StepHandlerContext) -> None:
        """Why the attempt before was interrupted, where that was not its own doing; a pod in its place is removed."""
        state, step_key = context.execute_step_args.known_state, self._get_step_key(context)
        attempt = state.get_retry_state().get_attempt_count(step_key) if state is not None else 0
        if not attempt:
            return
        first = self._get_k8s_step_job_name(context).removesuffix(f"-{attempt}")
        name = first if attempt == 1 else f"{first}-{attempt - 1}"
        watched = self._watched.get(name)
        try:
            job = self._look(context, name)
            # What is still pending is Kubernetes' replacement: the attempt's own pod ran, or it had said nothing.
            ran = (pod for pod in job.pods if pod_phase(pod) != "Pending")
            pod = next((pod for pod in ran if watched is None or watched.pod in (None, pod_uid(pod))), None)
            is_told = watched is not None and watched.is_over
            if not is_told and (pod is None or is_told_to_end(pod) or pod_phase(pod) == "Failed"):
                self._tell(context, f"attempt {attempt} was interrupted: {job.ending(pod).sentence}")
            if any(pod_phase(pod) == "Pending" for pod in job.pods):
                job.delete()
        except Exception as fault:
            # Words about the past do not keep the next attempt from beginning.
            self._tell(context, f"what became of Kubernetes job {name} could not be found out: {fault}")

    def _look(self, context: StepHandlerContext, name: str) -> KubernetesJob:
        namespace = self._get_container_context(context).namespace
        assert namespace is not None
        return KubernetesJob(self._api_client, name=name, namespace=namespace)

    def _is_ending(self, watched: _Watched, pod: dict[str, Any]) -> bool:
        """Whether the pod was told to end and still may say how its step went."""
        if not is_told_to_end(pod) or pod_phase(pod) in ENDED_PHASES:
            return False
        since = watched.ending.setdefault(pod_uid(pod), self._clock())
        return self._clock() - since < self._ending_seconds

    def _waits(
        self, context: StepHandlerContext, watched: _Watched, job: KubernetesJob, pod: dict[str, Any] | None
    ) -> CheckStepHealthResult:
        why = pod_waiting(pod, events=job.events(), asks_for_gpu=self._asks_for_gpu(context))
        if self._clock() - watched.since >= self._pending_seconds:
            job.delete()
            return self._fail(
                context,
                watched,
                f"the step's pod did not start within {self._pending_seconds:.0f} s (POSTCLICK_POD_PENDING_SECONDS): "
                f"{why or 'its node has not started it yet'}",
            )
        # Refused pods have a new name with every try, and nothing else is new.
        told = why and _POD_NAME.sub("pods", why)
        if why is not None and told != watched.told:
            watched.told = told
            self._tell(context, why)
        return CheckStepHealthResult.healthy()

    def _asks_for_gpu(self, context: StepHandlerContext) -> bool:
        resources = self._get_container_context(context).run_k8s_config.container_config.get("resources") or {}
        return self._gpu_resource in (resources.get("limits") or {})

    def _lost(self, watched: _Watched, sentence: str) -> CheckStepHealthResult:
        watched.is_over = True
        return CheckStepHealthResult.unhealthy(sentence)

    def _fail(self, context: StepHandlerContext, watched: _Watched, sentence: str) -> CheckStepHealthResult:
        """Fail the step for good; the executor reads it as if the step had said so."""
        watched.is_over = True
        DagsterEvent.step_failure_event(
            context.get_step_context(self._get_step_key(context)),
            StepFailureData(
                error=SerializableErrorInfo(message=f"{sentence}\n", stack=[], cls_name=None),
                user_failure_data=UserFailureData(label="pod", description=sentence),
            ),
        )
        return CheckStepHealthResult.healthy()

    def _tell(self, context: StepHandlerContext, message: str) -> None:
        step_context = context.get_step_context(self._get_step_key(context))
        DagsterEvent.engine_event(step_context, message, EngineEventData())


def _is_final(status: int | None) -> bool:
    return status is not None and 400 <= status < 500 and status not in (401, 408, 429)
