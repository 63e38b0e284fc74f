"""The shipped spec `ali_ccp`: AITM's 18 fields, the lists beside them, and files of the published format."""

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ml.data.dataset import AliCcp
from ml.data.dataset_file import DatasetInvalid, load_dataset
from tests.benchmarks.ali_ccp_files import write_ali_ccp
from tests.ml.data.sources.ali_ccp.published_files import land

AITM = "101 121 122 124 125 126 127 128 129 205 206 207 216 301 508 509 702 853"
GRAPHS = {"user": "101 121 122 124 125 126 127 128 129", "item": "205 206 207 216"}


def test_its_fields_are_those_of_the_papers_and_the_lists() -> None:
    spec = load_dataset("ali_ccp", environment={"POSTCLICK_DATA": "/data"})
    numbers = {field.source_column: field for field in spec.fields}
    assert [number for number, field in numbers.items() if field.kind != "sequence"] == AITM.split()
    for side, expected in GRAPHS.items():
        single = [number for number in AITM.split() if numbers[number].entity == side]
        assert single == expected.split()
    assert [number for number, field in numbers.items() if field.weighted] == ["109_14", "110_14", "127_14", "150_14"]
    assert (numbers["210"].kind, numbers["210"].of, numbers["301"].bias) == ("sequence", None, True)
    assert (spec.user_key, spec.item_key) == (numbers["101"].name, numbers["205"].name)


def test_the_papers_spec_is_the_same_log_without_the_lists() -> None:
    whole, papers = (
        load_dataset(name, environment={"POSTCLICK_DATA": "/data"}).model_dump()
        for name in ("ali_ccp", "ali_ccp_papers")
    )
    whole["fields"] = tuple(field for field in whole["fields"] if field["kind"] != "sequence")
    differing = {name for name in whole if whole[name] != papers[name]}
    assert differing == {"name", "description"}


def test_the_test_file_is_judged_by_a_model_of_the_whole_train_file() -> None:
    spec = load_dataset("ali_ccp", environment={"POSTCLICK_DATA": "/data"})
    assert isinstance(spec.source, AliCcp)
    assert spec.days.last == spec.days.first + timedelta(days=spec.source.pseudo_days)
    assert spec.window.window_days == spec.window.min_days == spec.source.pseudo_days
    # As long as the train file, which is pseudo_days of the usual days.
    assert spec.validation.volume_high_ratio > spec.source.pseudo_days


def test_it_needs_the_folder_of_the_files() -> None:
    with pytest.raises(DatasetInvalid, match="POSTCLICK_DATA, which is not set"):
        load_dataset("ali_ccp", environment={})


def test_every_field_of_it_is_found_in_files_of_the_format(tmp_path: Path) -> None:
    write_ali_ccp(tmp_path / "ali_ccp", rows=2000, test_rows=100)
    spec = load_dataset("ali_ccp", environment={"POSTCLICK_DATA": str(tmp_path)})
    landed = land(spec, *range(8), root=tmp_path / "out")
    assert [len(day) for day in landed] == [286, 286, 286, 285, 286, 286, 285, 100]
    rows = [row for day in landed[:7] for row in day]
    for field in spec.fields:
        assert any(row[field.name] for row in rows), field.name
        if field.kind == "sequence":
            assert all(len(row[field.name] or ()) <= field.max_length for row in rows)
    schema = pq.read_schema(tmp_path / "out" / spec.days.first.isoformat() / "impressions.parquet")
    assert schema.field("behaviour_shops_weights").type.value_type == "double"
    assert {str(schema.field(field.name).type) for field in spec.fields if field.kind != "sequence"} == {"string"}
