"""How steps are placed where each runs in a pod: their tags and retries; what is in a tag, `infra` knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

#: A pod lost or a disk briefly full is worth one more try; refused data is not (`final_refusals`).
INFRASTRUCTURE_RETRIES = 1


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
        return dg.RetryPolicy(max_retries=self.retries, delay=10)

    @property
    def data_retry_policy(self) -> dg.RetryPolicy | None:
        """Of data steps: on one machine what they fail of is their data, in a cluster it may be their pod."""
        return self.retry_policy if self.other else None


LOCAL = StepPods()
