"""How steps are placed where each runs in a pod: their tags and retries; what is in a tag, `infra` knows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

#: A pod lost or a disk briefly full is worth one more try; refused data is not (`final_refusals`).
INFRASTRUCTURE_RETRIES = 1


#: Ctrl-C and SIGTERM, as Dagster raises them in a step.
REQUESTS_TO_END = (KeyboardInterrupt, DagsterExecutionInterruptedError)


class UnlessEnded(dg.RetryPolicy):
    """Retries what fails, but not a step that was told to end.

    dagster 1.13 retries an interrupted step as it does a failed one. In a pod of its own that is right: the pod goes,
    and the retry is another one. In the process that people look at, Ctrl-C or SIGTERM would be followed by the same
    training, gone on with ten seconds later.
    """

    def calculate_delay(self, attempt_num: int) -> Any:
        """Seconds until the retry; asked by dagster while it handles what ended the step, which goes on if it was a
        request to end."""
        ending = sys.exception()
        if isinstance(ending, REQUESTS_TO_END):
            raise ending
        return super().calculate_delay(attempt_num)


@dataclass(frozen=True)
class StepPods:
    """Op tags of the steps that train and of all others: none where steps run in a process of this machine.

    retries: how often a step whose pod or machine was lost is begun again.
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    other: Mapping[str, Any] = field(default_factory=dict)
    retries: int = INFRASTRUCTURE_RETRIES

    @property
    def retry_policy(self) -> dg.RetryPolicy:
        """Of steps that may be begun again: what they had finished is found, or resumed."""
        made = dg.RetryPolicy if self.other else UnlessEnded
        return made(max_retries=self.retries, delay=10)

    @property
    def data_retry_policy(self) -> dg.RetryPolicy | None:
        """Of data steps: on one machine what they fail of is their data, in a cluster it may be their pod."""
        return self.retry_policy if self.other else None


LOCAL = StepPods()
