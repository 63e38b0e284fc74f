"""What the ops of jobs that train many models are declared with: the pool of the GPU, and the pod they ask for."""

from typing import Any

from assets.partitions import GPU_POOL
from orchestration.settings import Settings


def training_op(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `dagster.op`. Without a GPU such an op takes no place of the pool from who needs one.

    One whose pod was lost is begun again, and finds in the store what had ended.
    """
    pods = settings.step_pods()
    again = {"retry_policy": pods.data_retry_policy}
    if settings.device == "cuda":
        return {"tags": pods.training, "pool": GPU_POOL, **again}
    return {"tags": pods.other, **again}
