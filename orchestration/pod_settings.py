"""The settings of pods: how large a step's pod is, where it may run and how long; `settings` reads them."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

from assets.step_pods import StepPods
from infra.kubernetes_tags import GpuNodes, PodLimits, step_tags, training_tags

_QUANTITY = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_RESOURCE = re.compile(rf"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/{_NAME}")
_LABEL = re.compile(rf"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?{_NAME}=({_NAME})?")
#: What a child that trains is given to write its checkpoint (`infra.child_process`), and some for the upload.
_LEAST_GRACE = 30


def _quantity(value: str) -> str:
    if not _QUANTITY.fullmatch(value):
        raise ValueError('expected a Kubernetes quantity such as "2", "500m", "16Gi"')
    return value


def _resource(value: str) -> str:
    if not _RESOURCE.fullmatch(value):
        raise ValueError("expected the name of a device plugin's resource, such as nvidia.com/gpu")
    return value


def _labels(value: str) -> str:
    if value and not all(_LABEL.fullmatch(part) for part in value.split(",")):
        raise ValueError("expected labels such as postclick/node-pool=gpu, with commas between several")
    return value


Quantity = Annotated[str, AfterValidator(_quantity)]


class PodSettings(BaseSettings):
    """Settings that matter where POSTCLICK_EXECUTOR is `kubernetes`, and nowhere else."""

    #: One training is one process on one card. Kubernetes, not this, knows what a GPU's quantity may be.
    gpus: Quantity | None = Field(default=None, description="GPUs of a training step; 1 if the device is cuda, else 0")
    gpu_resource: Annotated[str, AfterValidator(_resource)] = Field(
        default="nvidia.com/gpu", description="what the device plugin calls a GPU, and the taint of nodes that have one"
    )
    gpu_node_selector: Annotated[str, AfterValidator(_labels)] = Field(
        default="postclick/node-pool=gpu", description="labels of GPU nodes, comma-separated; empty: any with a GPU"
    )
    gpu_priority_class: str = Field(default="postclick-gpu", description="PriorityClass of GPU steps; empty: none")
    #: Beside a GPU the cores feed batches; without one they train.
    training_cpu: Quantity = Field(default="4", description="cores of a training step")
    #: The window and its optimizer state in float32, with room to spare for a window of the default 2 GiB.
    training_memory: Quantity = Field(default="16Gi", description="memory of a training step")
    training_shared_memory: Quantity = Field(
        default="2Gi", description="of which so much in /dev/shm, 64 MiB where nobody asks"
    )
    data_cpu: Quantity = Field(default="2", description="cores of every other step")
    #: DuckDB streams and Great Expectations works on batches; a graph of a million users is the largest.
    data_memory: Quantity = Field(default="8Gi", description="memory of every other step")
    #: A node may have to be started, and another team's training may have to end.
    pod_pending_seconds: int = Field(default=1800, ge=20, le=604_800, description="a step's pod may wait so long")
    #: A step that hangs gives its GPU back within a day.
    pod_deadline_seconds: int = Field(default=86_400, ge=60, le=2_592_000, description="a step's pod may run so long")
    #: 20 s for the trainer's own checkpoint, and its upload: 100 s carry 5 GiB at 50 MiB/s.
    pod_grace_seconds: int = Field(
        default=120, ge=_LEAST_GRACE, le=3600, description="a step told to end may take so long to keep its checkpoint"
    )
    pod_kept_seconds: int = Field(
        default=86_400, ge=600, le=2_592_000, description="a step's ended Job can be looked at with kubectl so long"
    )
    #: On nodes that are taken away at will one training is interrupted more than once, and goes on each time.
    step_retries: int = Field(default=3, ge=0, le=100, description="how often a step whose pod was lost is begun again")

    def pods(self, *, device: str) -> StepPods:
        """The tags and retries of all steps."""
        limits = PodLimits(
            wait=self.pod_pending_seconds,
            work=self.pod_deadline_seconds,
            grace=self.pod_grace_seconds,
            kept=self.pod_kept_seconds,
        )
        return StepPods(
            training=training_tags(
                cpu=self.training_cpu,
                memory=self.training_memory,
                shared_memory=self.training_shared_memory,
                limits=limits,
                gpus=self._gpu_nodes(device),
            ),
            other=step_tags(cpu=self.data_cpu, memory=self.data_memory, limits=limits),
            retries=self.step_retries,
        )

    def _gpu_nodes(self, device: str) -> GpuNodes | None:
        quantity = ("1" if device == "cuda" else "0") if self.gpus is None else self.gpus
        if quantity == "0":
            return None
        labels = (part.partition("=") for part in self.gpu_node_selector.split(",") if part)
        return GpuNodes(
            quantity=quantity,
            resource=self.gpu_resource,
            selector={name: value for name, _, value in labels},
            priority_class=self.gpu_priority_class or None,
        )
