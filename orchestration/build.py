"""Puts the outside world of a dataset together from settings: the store, the folders, the tracker; no assets here."""

from pathlib import Path

from assets.raw_feed import BucketFeed
from assets.resources import Platform, Prices, Tracking
from infra.object_keys import ObjectStoreError
from ml.data.dataset import DatasetSpec
from orchestration.settings import Settings, SettingsInvalid


def build_platform(settings: Settings, spec: DatasetSpec) -> Platform:
    """The platform of one dataset: local folders, or S3 where `POSTCLICK_STORE` or a path of the spec names a bucket.

    Raises SettingsInvalid where S3 cannot be spoken to by what is installed and set.
    """
    home = settings.dataset_home(spec)
    spec_file = Path(settings.dataset)
    try:
        objects = settings.object_store(dataset=spec.name, home=home)
        feed = BucketFeed(settings.raw_feed()) if spec.in_bucket else None
    except ObjectStoreError as fault:
        raise SettingsInvalid(str(fault)) from fault
    return Platform(
        objects=objects,
        feed_root=home / "feed",
        feed=feed,
        cache_root=home / "cache",
        child_environment=settings.child_environment(),
        threads=settings.threads,
        device=settings.device,
        window_bytes=int(settings.window_gib * 1024**3),
        checkpoint_seconds=settings.checkpoint_seconds,
        compile_step=settings.compile_step,
        # A folder of this machine outlives no machine: copies beside it would help nobody.
        checkpoints_in_store=(
            settings.store is not None if settings.checkpoints_in_store is None else settings.checkpoints_in_store
        ),
        # A folder as the store lies under POSTCLICK_HOME, as what they write does: both survive, or neither.
        folders_in_store=settings.store is not None,
        prices=Prices(
            per_cpu_hour=settings.cpu_hour_price,
            per_gpu_hour=settings.gpu_hour_price,
            currency=settings.currency,
        ),
        metrics_port=settings.metrics_port,
        tracking=Tracking(
            project=settings.wandb_project,
            online=settings.wandb_api_key is not None,
            timeout_seconds=settings.tracking_timeout_seconds,
            folder=home / "wandb",
            environment=settings.tracking_environment(),
        ),
        # Whoever reads a page stands in another folder than who made it.
        dataset_argument=str(spec_file.resolve()) if spec_file.is_file() else settings.dataset,
    )
