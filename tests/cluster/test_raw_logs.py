"""Raw logs that lie in a bucket, landed and validated in pods that have no folder of anybody's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRunStatus

from assets.receipts import read_receipts
from ml.data.dataset import Synthetic
from ml.data.dataset_file import load_dataset
from ml.data.synthetic.feed import ensure_days, feed_folder
from tests.cluster.chain_state import DATA_STEPS, DAYS, check_data, check_events
from tests.cluster.deployment import DATASET
from tests.cluster.stores import BUCKET

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
#: The tests' log, which lies below POSTCLICK_DATA.
IN_BUCKET = Path(__file__).with_name("tiny_in_bucket.yaml")
FEED = "feed"


def test_raw_logs_in_a_bucket(clean: Any, data: str, told: Callable[..., None], tmp_path: Path):
    source = load_dataset(str(DATASET), environment={}).source
    assert isinstance(source, Synthetic)
    ensure_days(config=source.config, days=DAYS, root=tmp_path)
    clean.store.upload(feed_folder(config=source.config, root=tmp_path), FEED)
    clean.use("raw-logs")
    clean.deployment.set(POSTCLICK_DATASET=str(IN_BUCKET), POSTCLICK_DATA=f"s3://{BUCKET}/{FEED}")
    try:
        run_id = clean.runs.data(DAYS)
        assert clean.runs.end(run_id) == DagsterRunStatus.SUCCESS, clean.runs.messages(run_id)
    finally:
        clean.deployment.set(POSTCLICK_DATASET=str(DATASET), POSTCLICK_DATA=None)
    check_events(clean.runs, run_id, steps=DATA_STEPS)
    check_data(clean.platform)
    found, expected = (
        [receipt.content_sha256 for receipt in read_receipts(clean.store.platform(prefix, clean.home), DAYS)]
        for prefix in ("raw-logs", "data")
    )
    assert found == expected
    manifest = clean.platform.artifacts.find(f"raw_events/{DAYS[0]}")
    (file,) = manifest.metadata["arrived"]["impressions"]["files"]
    assert file["path"].startswith(f"s3://{BUCKET}/{FEED}/")
    told(
        fault="none, raw logs at s3://… in place of files of the pod",
        outcome=f"{len(DAYS)} days admitted, their samples byte for byte those of files",
    )
