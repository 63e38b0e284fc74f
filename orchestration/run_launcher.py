"""The launcher of runs in pods of their own: dagster-k8s', with a closer look at a run's pod that is gone."""

from __future__ import annotations

from dagster import DagsterRun, DagsterRunStatus
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import get_job_name_from_run_id

from orchestration.kubernetes_jobs import ENDED_PHASES, KubernetesJob, pod_exit_code, pod_phase

_UNFINISHED = (DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
_LEFT = "it was told to end (SIGTERM) and left the run for another pod to take up"


class ResumableRunLauncher(K8sRunLauncher):
    """Tells a run without a pod from one with a pod where dagster-k8s 0.29 does not, and says why its pod ended.

    A run's pod that is told to end (a drained node, `kubectl delete pod`) leaves its run to be resumed and exits with
    code 0. Kubernetes before 1.26 then calls its Job complete and may go on counting the pod as active; dagster-k8s
    reads such a Job as a living worker, and the run would stay STARTED for ever, its places in pools with it.

    While the API server is away, dagster-k8s knows nothing of any pod, and run monitoring takes that for a lost one: it
    failed a run that was well, or put a second worker beside the first, by when in its 20 seconds it had looked.
    """

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run has a pod that works on it.

        Raises what the client raises where the API server does not answer: run monitoring then judges nothing, and
        looks again.
        """
        namespace = self.get_container_context_for_run(run).namespace
        assert namespace is not None
        name = get_job_name_from_run_id(run.run_id, resume_attempt_number=self._get_resume_attempt_number(run))
        job = KubernetesJob(self._api_client, name=name, namespace=namespace)
        found = super().check_run_worker_health(run)
        if found.status == WorkerStatus.UNKNOWN and job.status is not None:
            raise ConnectionError(f"the API server told of Kubernetes job {name}, and then no more: {found.msg}")
        if run.status not in _UNFINISHED or found.status == WorkerStatus.UNKNOWN or not job.is_finished:
            return found
        if any(pod_phase(pod) not in ENDED_PHASES for pod in job.pods):
            return found
        pod = job.pods[-1] if job.pods else None
        why = _LEFT if pod_exit_code(pod) == 0 else job.ending(pod).sentence
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the run's own pod is gone: {why} (Kubernetes job {name})")
