"""Which steps are begun again: those that failed, and in pods those that were told to end."""

import os
import signal

import dagster as dg
import pytest

from assets.step_pods import LOCAL, StepPods, UnlessEnded

IN_PODS = StepPods(training={"gpu": "1"}, other={"cpu": "1"}, retries=3)


def attempts_of(policy: dg.RetryPolicy, *, fault: Exception | signal.Signals) -> int:
    """How often a step is begun that each time ends of `fault`."""
    begun: list[int] = []

    @dg.op(retry_policy=policy)
    def trains() -> None:
        begun.append(1)
        if isinstance(fault, Exception):
            raise fault
        os.kill(os.getpid(), fault)
        signal.pause()

    @dg.job
    def job() -> None:
        trains()

    assert not job.execute_in_process(raise_on_error=False).success
    return len(begun)


@pytest.mark.parametrize("fault", [signal.SIGINT, signal.SIGTERM])
def test_a_step_that_is_told_to_end_is_not_gone_on_with_in_the_same_process(fault: signal.Signals):
    assert attempts_of(UnlessEnded(max_retries=2, delay=0), fault=fault) == 1
    assert attempts_of(dg.RetryPolicy(max_retries=2, delay=0), fault=fault) == 3, "as dagster has it"


def test_a_fault_is_retried_and_a_refusal_is_not():
    policy = UnlessEnded(max_retries=2, delay=0)
    assert attempts_of(policy, fault=OSError("disk full")) == 3
    assert attempts_of(policy, fault=dg.Failure("refused", allow_retries=False)) == 1


def test_in_pods_whatever_ends_a_step_is_retried():
    for policy in (IN_PODS.retry_policy, IN_PODS.data_retry_policy):
        assert type(policy) is dg.RetryPolicy
        assert policy.max_retries == 3
    assert isinstance(LOCAL.retry_policy, UnlessEnded)
    assert LOCAL.data_retry_policy is None
