"""The contract that every object store keeps for files: put, fetched whole, read in parts."""

import hashlib
import random
from pathlib import Path

import pytest

from infra.object_keys import ObjectChanged, ObjectDamaged
from infra.object_store import ObjectStore
from infra.s3_uploads import SINGLE_PUT_BYTES
from tests.infra.every_store import EVERY_STORE

pytestmark = EVERY_STORE


def test_files_go_in_and_come_back_with_their_name(store: ObjectStore, tmp_path: Path):
    source = tmp_path / "source"
    for content in (b"first" * 1000, b"", bytes(range(256)) * 40_000):
        source.write_bytes(content)
        store.put_file("models/day=2026-01-01/weights.safetensors", source)
        source.unlink()
        fetched = store.fetch_file("models/day=2026-01-01/weights.safetensors")
        assert fetched.name == "weights.safetensors"
        assert fetched.read_bytes() == content
        assert store.fetch_file("models/day=2026-01-01/weights.safetensors") == fetched
    fetched = store.fetch_file("models/day=2026-01-01/weights.safetensors", fresh=True)
    assert fetched.read_bytes() == content


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that S3 gets in parts, the last one short."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(random.Random(1).randbytes(SINGLE_PUT_BYTES + 12_345))
    return path


def test_large_files_go_in_and_come_back(store: ObjectStore, large_file: Path):
    store.put_file("models/weights.safetensors", large_file)
    assert _same(store.fetch_file("models/weights.safetensors"), large_file)
    digest = hashlib.sha256(large_file.read_bytes()).hexdigest()
    store.put_file("models/weights.safetensors", large_file, sha256=digest)
    assert _same(store.fetch_file("models/weights.safetensors"), large_file)


def test_a_file_with_another_sha256_than_given_is_damaged(store: ObjectStore, tmp_path: Path, large_file: Path):
    small = tmp_path / "small"
    small.write_bytes(b"other bytes")

    def put_and_fetch(source: Path) -> None:
        store.put_file("checkpoint", source, sha256="0" * 64)
        store.fetch_file("checkpoint")

    for source in (small, large_file):
        with pytest.raises(ObjectDamaged, match=f"sha256 {'0' * 64}"):
            put_and_fetch(source)


def test_parts_of_an_open_file_are_read_where_they_lie(store: ObjectStore, large_file: Path):
    store.put_file("large.bin", large_file)
    content, positions = large_file.read_bytes(), random.Random(2)
    with store.open_file("large.bin") as file:
        assert file.seek(0, 2) == len(content)
        assert file.read() == b""
        for _ in range(10):
            start, length = positions.randrange(len(content)), positions.choice([1, 1000, 2_000_000])
            file.seek(start)
            assert file.read(length) == content[start : start + length]
        file.seek(-5, 2)
        assert file.read() == content[-5:]
    store.put_bytes("empty", b"")
    with store.open_file("empty") as file:
        assert file.read() == b""


def test_row_groups_of_an_open_parquet_file_are_read_alone(store: ObjectStore, tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"row": range(100_000), "text": [f"{number:08}" for number in range(100_000)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=10_000)
    store.put_file("days/rows.parquet", tmp_path / "rows.parquet")
    with store.open_file("days/rows.parquet") as file:
        parquet = pq.ParquetFile(file)
        assert parquet.num_row_groups == 10
        assert parquet.read_row_group(7).equals(table.slice(70_000, 10_000))
        assert parquet.read_row_group(2, columns=["row"])["row"][0].as_py() == 20_000


def test_an_open_file_stays_one_version(store: ObjectStore, large_file: Path, tmp_path: Path):
    store.put_file("large.bin", large_file)
    with store.open_file("large.bin") as file:
        first = file.read(10)
        store.put_bytes("large.bin", b"x" * SINGLE_PUT_BYTES)
        file.seek(20_000_000)
        try:
            later = file.read(10)
        except ObjectChanged:
            later = large_file.read_bytes()[20_000_000:20_000_010]
    assert (first, later) == (large_file.read_bytes()[:10], large_file.read_bytes()[20_000_000:20_000_010])


def test_a_missing_source_file_leaves_the_object_alone(store: ObjectStore, tmp_path: Path):
    store.put_bytes("object", b"kept")
    with pytest.raises(FileNotFoundError):
        store.put_file("object", tmp_path / "absent")
    assert store.get_bytes("object").data == b"kept"


def _same(left: Path, right: Path) -> bool:
    return left.read_bytes() == right.read_bytes()
