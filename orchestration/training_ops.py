"""What the ops of jobs that train many models are declared with: the pool of the GPU, and the pod they ask for."""

from typing import Any

from assets.partitions import GPU_POOL
from orchestration.settings import Settings


def training_op(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `dagster.op`. Without a GPU such an op takes no place of the pool from who needs one."""
    pods = settings.step_pods()
    if settings.device == "cuda":
        return {"tags": pods.training, "pool": GPU_POOL}
    return {"tags": pods.other}
