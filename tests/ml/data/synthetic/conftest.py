"""Small synthetic feeds to test against."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.feed import generate_day

DAY = date(2026, 1, 7)


@pytest.fixture
def day() -> date:
    return DAY


@pytest.fixture
def small() -> SyntheticConfig:
    return SyntheticConfig(impressions_per_day=6_000, chunk_rows=2_500, users=300, items=100)


@pytest.fixture(scope="session")
def usual_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The feed folder of one day with the default settings."""
    root = tmp_path_factory.mktemp("usual")
    generate_day(config=SyntheticConfig(), day=DAY, root=root)
    return root


@pytest.fixture(scope="session")
def rows() -> Callable[[Path, str], pa.Table]:
    """All rows of a stream in a feed folder, whatever the day of the file."""

    def read(root: Path, stream: str) -> pa.Table:
        files = sorted((root / stream).rglob("*.parquet"))
        return pa.concat_tables(pq.ParquetFile(file).read() for file in files)

    return read


@pytest.fixture(scope="session")
def labelled(rows: Callable[[Path, str], pa.Table]) -> Callable[[Path], dict[str, np.ndarray]]:
    """A plain join of the streams by ids: labels beside true probabilities, in the order of the truth."""

    def read(root: Path) -> dict[str, np.ndarray]:
        truth = rows(root, "truth").to_pydict()
        clicks = {click["click_id"]: click["impression_id"] for click in rows(root, "clicks").to_pylist()}
        converted = {clicks[conversion["click_id"]] for conversion in rows(root, "conversions").to_pylist()}
        clicked = set(clicks.values())
        return {
            "click": np.array([one in clicked for one in truth["impression_id"]]),
            "conversion": np.array([one in converted for one in truth["impression_id"]]),
            "p_click": np.array(truth["p_click"]),
            "p_conversion": np.array(truth["p_conversion"]),
        }

    return read
