"""Common features on disk: any line comes back as it was put, and the pages it lay on are given back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ml.data.fields import FieldSpec
from ml.data.sources.ali_ccp.common import FAULTS, CommonFeatures
from ml.data.sources.ali_ccp.features import FeatureParser

FIELDS = (
    FieldSpec(name="user", column="101", entity="user", kind="id"),
    FieldSpec(name="number", column="853", entity="context", kind="number"),
    FieldSpec(name="weighted", column="150_14", entity="user", kind="sequence", weighted=True),
    FieldSpec(name="unseen", column="210", entity="user", kind="sequence"),
)


def text(line: int) -> str:
    """The features of a line: user and number on some, a list as long as the line's number modulo five."""
    items = [f"101\x02u{line}\x031.0"] if line % 3 else []
    items += [f"853\x020\x03{line}.5"] if line % 4 == 0 else []
    items += [f"150_14\x02{line}-{place}\x03{place}.25" for place in range(line % 5)]
    return "".join(one + "\x01" for one in items)


@pytest.fixture
def store(tmp_path: Path) -> CommonFeatures:
    """Forty lines, appended in batches that are not in order."""
    common = CommonFeatures(FIELDS, folder=tmp_path / "common")
    for lines in (range(21, 41), range(1, 13), range(13, 21)):
        parsed = FeatureParser(FIELDS).parse(pa.array([text(line) for line in lines]))
        common.append(lines=np.array(lines), columns=parsed.fields)
    common.close()
    return common


def test_lines_come_back_in_the_order_asked_for(store: CommonFeatures) -> None:
    lines = np.array([40, 3, 20, 21, 4, 40])
    fetched = store.fetch(lines)
    expected = FeatureParser(FIELDS).parse(pa.array([text(int(line)) for line in lines])).fields
    assert sorted(fetched) == sorted(expected) == ["number", "user", "weighted"]
    for name, values in expected.items():
        assert fetched[name].lengths.tolist() == values.lengths.tolist()
        assert (fetched[name].ids is None) == (values.ids is None)
        if values.ids is not None:
            assert fetched[name].ids.to_pylist() == values.ids.to_pylist()
        if values.numbers is not None:
            assert fetched[name].numbers.tolist() == values.numbers.tolist()


def test_no_line_has_no_values(store: CommonFeatures) -> None:
    assert {name: len(values.lengths) for name, values in store.fetch(np.zeros(0, dtype=np.int64)).items()} == {
        "user": 0,
        "number": 0,
        "weighted": 0,
    }


def test_a_field_without_values_is_not_held(store: CommonFeatures) -> None:
    assert [store.holds(name) for name in ("user", "unseen", FAULTS)] == [True, False, False]


def test_nothing_appended_is_nothing_held(tmp_path: Path) -> None:
    common = CommonFeatures(FIELDS, folder=tmp_path)
    common.close()
    assert common.fetch(np.zeros(0, dtype=np.int64)) == {}


def test_the_files_go_with_the_context(tmp_path: Path) -> None:
    with CommonFeatures(FIELDS, folder=tmp_path / "common") as common:
        common.close()
        assert (tmp_path / "common").is_dir()
    assert not (tmp_path / "common").exists()
