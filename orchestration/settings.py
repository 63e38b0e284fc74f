"""The only reader of the environment: every setting of Postclick, validated; nothing else may look at `os.environ`."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from assets.step_pods import LOCAL, StepPods
from infra import structured_logs
from infra.webhook import check_address
from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import load_dataset
from ml.data.source_spec import BUCKET_SCHEME
from orchestration.pod_settings import PodSettings
from orchestration.store_settings import StoreSettings

#: Variables that a child process may inherit. A whole environment would carry every secret of the parent along.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "CUDA_VISIBLE_DEVICES")
#: Secrets that are not Postclick's own settings: libraries read them, and a log line must not hold them either.
_SECRETS_OF_OTHERS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DAGSTER_PG_PASSWORD")


class SettingsInvalid(ValueError):
    """A wrong environment variable: its name, its value and the remedy."""


class Settings(PodSettings, StoreSettings):
    """Postclick's settings: variables named POSTCLICK_…, from the environment or from `.env` beside the project."""

    model_config = SettingsConfigDict(
        env_prefix="POSTCLICK_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    home: Path = Field(default=Path("var"), description="folder for everything that Postclick stores")
    dataset: str = Field(default="demo", description="a dataset spec: its path or, if it ships, its name")
    data: str | None = Field(
        default=None, description="folder of raw files, or s3://bucket/folder, for specs that use ${POSTCLICK_DATA}"
    )
    threads: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8), ge=1, le=256, description="threads of one child process"
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where models are trained")
    window_gib: float = Field(
        default=2.0, ge=0, le=4096, description="training windows up to so many GiB are held in memory or on the device"
    )
    checkpoint_seconds: float = Field(default=300, gt=0, description="between two checkpoints of a training run")
    checkpoints_in_store: bool | None = Field(
        default=None, description="whether another machine may go on from a run's checkpoints; if absent, with S3"
    )
    compile_step: bool = Field(default=False, description="torch.compile a model before it is trained")
    #: A price that nobody has set is not guessed: the report then shows seconds alone.
    cpu_hour_price: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="an hour of a CPU core")
    gpu_hour_price: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="an hour of a GPU")
    currency: str = Field(default="", max_length=10, description="what the prices are in, such as EUR")
    executor: Literal["in_process", "multiprocess", "kubernetes"] = Field(
        default="in_process", description="how a run's steps run; kubernetes: each in a pod of its own"
    )
    wandb_project: str = Field(default="postclick", min_length=1, description="project that runs are mirrored to")
    tracking_timeout_seconds: float = Field(default=120, gt=0, le=3600, description="a tracker is given no longer")
    #: The address of a Slack webhook is its password.
    alert_webhook: SecretStr | None = Field(default=None, description="address of a webhook that takes Slack's format")
    alert_timeout_seconds: float = Field(default=5, gt=0, le=30, description="a webhook is given no longer")
    ui_url: str | None = Field(default=None, description="where people reach Dagster's UI; alerts link to it")
    log_format: Literal["text", "json"] = Field(default="text", description="what a line of the log looks like")
    #: Nothing is opened, and no Prometheus client is loaded, unless someone asks.
    metrics_port: int | None = Field(default=None, ge=1, le=65535, description="port of Prometheus metrics")
    wandb_api_key: SecretStr | None = Field(default=None, validation_alias="WANDB_API_KEY")
    wandb_sweep_id: str | None = Field(default=None, validation_alias="WANDB_SWEEP_ID")
    dagster_home: Path | None = Field(default=None, validation_alias="DAGSTER_HOME")

    @field_validator("executor")
    @classmethod
    def _a_gpu_for_cuda(cls, value: str, info: ValidationInfo) -> str:
        if value == "kubernetes" and info.data.get("device") == "cuda" and info.data.get("gpus") == "0":
            raise ValueError("POSTCLICK_DEVICE=cuda trains on a GPU, and POSTCLICK_GPUS=0 asks for none: unset one")
        return value

    @field_validator("alert_webhook")
    @classmethod
    def _webhook_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_address(value.get_secret_value())
        return value

    @field_validator("metrics_port")
    @classmethod
    def _with_a_client(cls, value: int | None) -> int | None:
        if value is not None and importlib.util.find_spec("prometheus_client") is None:
            raise ValueError("metrics need prometheus-client: pip install 'postclick[k8s]'")
        return value

    def secrets(self) -> tuple[str, ...]:
        """Every secret text that this process knows: what no log line may hold."""
        own = (getattr(self, name) for name in type(self).model_fields)
        others = (os.environ.get(name, "") for name in _SECRETS_OF_OTHERS)
        return (*(value.get_secret_value() for value in own if isinstance(value, SecretStr)), *others)

    def step_pods(self) -> StepPods:
        """What steps ask for where each runs in a pod; nothing elsewhere."""
        return self.pods(device=self.device) if self.executor == "kubernetes" else LOCAL

    def dataset_spec(self) -> DatasetSpec:
        """The dataset spec in force; DatasetInvalid names what is wrong with it."""
        from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
        variables = {**from_file, **os.environ}
        if (folder := self.data_folder()) is not None:
            variables["POSTCLICK_DATA"] = folder
        return load_dataset(self.dataset, environment=variables)

    def data_folder(self) -> str | None:
        """What `${POSTCLICK_DATA}` stands for: an absolute path, or an address in a bucket."""
        if self.data is None or self.data.startswith(BUCKET_SCHEME):
            return self.data and self.data.rstrip("/")
        return str(Path(self.data).resolve())

    def dataset_home(self, spec: DatasetSpec) -> Path:
        """Folder of everything stored for one dataset, apart from every other dataset's."""
        return self.home.resolve() / spec.name

    def dagster_folder(self, spec: DatasetSpec) -> Path:
        """DAGSTER_HOME: the variable's value, else a folder of the dataset's own."""
        return self.dagster_home.resolve() if self.dagster_home else self.dataset_home(spec) / "dagster"

    def child_environment(self) -> dict[str, str]:
        """The environment of a child process that computes: no secret, threads set, spinning threads asleep.

        torch and faiss each bring an OpenMP runtime; on busy cores their spinning threads cost 2.5 to 7 times.
        """
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        threads = str(self.threads)
        return {
            **inherited,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONUNBUFFERED": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }

    def tracking_environment(self) -> dict[str, str]:
        """The environment of the tracking child: the only one that is handed the tracker's key."""
        key = {"WANDB_API_KEY": self.wandb_api_key.get_secret_value()} if self.wandb_api_key else {}
        return {**self.child_environment(), **key}


def read_settings(overrides: Mapping[str, object] | None = None) -> Settings:
    """Read the settings; `overrides` (by field name) come before the environment, and the environment before `.env`.

    Raises SettingsInvalid naming each wrong variable, its value and the remedy.
    """
    try:
        return Settings(**(overrides or {}))  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_url=False):
            name = str(fault["loc"][0]) if fault["loc"] else "settings"
            variable = name.upper() if name.isupper() else f"POSTCLICK_{name.upper()}"
            field = Settings.model_fields.get(name)
            meaning = f" ({field.description})" if field is not None and field.description else ""
            secret = field is not None and "SecretStr" in str(field.annotation)
            found = "a value that is not shown" if secret else repr(fault["input"])
            lines.append(f"{variable}: {fault['msg']}; found {found}{meaning}; correct it or unset it")
        raise SettingsInvalid("\n".join(lines)) from None


def prepare_process(settings: Settings) -> None:
    """Set in this process what must stand before heavy libraries load and lines are logged: thread policy, quiet
    analytics, the log's format, secrets kept out of it."""
    structured_logs.hide_secrets(settings.secrets())
    if settings.log_format == "json":
        structured_logs.install(secrets=settings.secrets())
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    # Data stays as it was read: pandas' own threads and plots' windows have no place in a server.
    os.environ.setdefault("MPLBACKEND", "Agg")


def hand_on_dataset(settings: Settings) -> None:
    """Have what this process loads later from the environment, the code location, be of this dataset."""
    os.environ["POSTCLICK_DATASET"] = settings.dataset
