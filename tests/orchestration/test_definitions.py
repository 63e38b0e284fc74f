"""The code location: light to load, valid for Dagster, and each asset's partitions, mappings, pools and checks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.partitions import GPU_POOL, daily_partitions
from assets.resources import RefusingIOManager
from ml.data.dataset import DatasetSpec
from orchestration.definitions import build_definitions
from orchestration.jobs import BACKFILL_DATA, BACKFILL_MODELS
from orchestration.settings import Settings

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "great_expectations", "faiss", "wandb", "pyspark", "pandas", "matplotlib"}
DATA = {"raw_events", "raw_conversions", "joined_samples", "validated_samples", "quarantined_samples"}
MODELS = {"ctr_embeddings", "user_graph", "item_graph", "cvr_model", "evaluation_report", "promoted_model"}


@pytest.fixture
def location(settings: Settings) -> dg.Definitions:
    return build_definitions(settings)


def specs(location: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in location.resolve_all_asset_specs()}


def assets(location: dg.Definitions) -> Iterator[dg.AssetsDefinition]:
    for asset in location.assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        yield asset


def environment(tmp_path: Path) -> dict[str, str]:
    own = {"POSTCLICK_HOME": str(tmp_path / "home"), "DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **own}


def test_loading_the_code_location_loads_nothing_heavy(tmp_path: Path):
    program = (
        "import sys; from orchestration.definitions import build_definitions; "
        "from orchestration.settings import read_settings; build_definitions(read_settings()); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-X", "importtime", "-c", program]
    done = subprocess.run(command, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = set(done.stdout.split())
    assert {"dagster", "ml", "assets"} <= loaded
    assert loaded & HEAVY == set()
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "orchestration" in imported
    assert imported & HEAVY == set()


def test_the_workspace_validates(tmp_path: Path):
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    done = subprocess.run(command, env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_asset_is_there_grouped_owned_and_described(location: dg.Definitions):
    found = specs(location)
    assert {name for name, spec in found.items() if spec.group_name == "data"} == DATA
    assert {name for name, spec in found.items() if spec.group_name == "models"} == MODELS
    for spec in found.values():
        assert spec.owners
        assert spec.kinds
        assert len(spec.description or "") > 40


def test_partitions_are_the_days_of_the_log(location: dg.Definitions, spec: DatasetSpec):
    for asset in assets(location):
        partitions = asset.partitions_def
        assert isinstance(partitions, dg.DailyPartitionsDefinition)
        assert partitions.get_partition_keys() == [f"2026-01-{day:02}" for day in range(5, 12)]
    endless = spec.model_copy(update={"days": spec.days.model_copy(update={"last": None})})
    assert daily_partitions(endless).end is None
    shanghai = daily_partitions(spec.model_copy(update={"timezone": "Asia/Shanghai"}))
    assert shanghai.timezone == "Asia/Shanghai"


def mapping(location: dg.Definitions, asset: str, upstream: str) -> Any:
    [dep] = [dep for dep in specs(location)[asset].deps if dep.asset_key.to_user_string() == upstream]
    return dep.partition_mapping


@pytest.mark.parametrize("asset", ["ctr_embeddings", "cvr_model"])
def test_training_maps_to_the_window_before_and_never_to_the_judged_day(
    location: dg.Definitions, spec: DatasetSpec, asset: str
):
    window = mapping(location, asset, "validated_samples")
    assert (window.start_offset, window.end_offset) == (-spec.window.window_days, -1)
    partitions = daily_partitions(spec)
    subset = partitions.subset_with_partition_keys(["2026-01-10"])
    upstream = window.get_upstream_mapped_partitions_result_for_partitions(subset, partitions, partitions)
    assert sorted(upstream.partitions_subset.get_partition_keys()) == ["2026-01-07", "2026-01-08", "2026-01-09"]


def test_samples_map_to_the_days_in_which_their_labels_may_arrive(location: dg.Definitions, spec: DatasetSpec):
    window = mapping(location, "joined_samples", "raw_conversions")
    assert (window.start_offset, window.end_offset) == (0, spec.label_days)
    assert mapping(location, "joined_samples", "raw_events") is None
    assert mapping(location, "evaluation_report", "validated_samples") is None


def test_trainers_share_the_gpu_pool_and_data_assets_run_a_range_in_one_run(location: dg.Definitions):
    pools, single_run = {}, set()
    for asset in assets(location):
        names = {key.to_user_string() for key in asset.keys}
        pools.update(dict.fromkeys(names, asset.op.pool))
        if asset.backfill_policy == dg.BackfillPolicy.single_run():
            single_run |= names
    assert {name for name, pool in pools.items() if pool} == {"ctr_embeddings", "cvr_model"}
    assert pools["cvr_model"] == GPU_POOL
    assert single_run == DATA


def test_every_check_is_partitioned_like_its_asset(location: dg.Definitions, spec: DatasetSpec):
    checks = [check for asset in assets(location) for check in asset.check_specs]
    assert {(check.asset_key.to_user_string(), check.name) for check in checks} == {
        ("raw_events", "feed_arrived"),
        ("raw_conversions", "feed_arrived"),
        ("joined_samples", "joined"),
        ("validated_samples", "schema"),
        ("validated_samples", "label_consistency"),
        ("validated_samples", "click_before_conversion"),
        ("validated_samples", "duplicates"),
        ("validated_samples", "volume"),
        ("validated_samples", "drift"),
    }
    assert all(check.partitions_def == daily_partitions(spec) for check in checks)


@pytest.mark.parametrize(("job", "expected"), [(BACKFILL_DATA, DATA), (BACKFILL_MODELS, MODELS)])
def test_a_job_runs_its_half_of_the_chain(location: dg.Definitions, job: str, expected: set[str]):
    keys = location.resolve_job_def(job).asset_layer.selected_asset_keys
    assert {key.to_user_string() for key in keys} == expected


def test_values_that_would_be_pickled_are_refused():
    manager = RefusingIOManager()
    manager.handle_output(dg.build_output_context(name="nothing"), None)
    with pytest.raises(TypeError, match="returned a dict"):
        manager.handle_output(dg.build_output_context(name="result"), {})
    with pytest.raises(TypeError, match=r"Platform\.artifacts"):
        manager.load_input(dg.build_input_context(name="model"))


def test_the_executor_is_the_settings(settings: Settings):
    def of(name: str) -> Any:
        return build_definitions(settings.model_copy(update={"executor": name})).executor

    assert (of("in_process"), of("multiprocess")) == (dg.in_process_executor, dg.multiprocess_executor)


def test_days_outside_the_log_have_no_partition(spec: DatasetSpec):
    assert spec.days.last is not None
    after = (spec.days.last + timedelta(days=1)).isoformat()
    assert not daily_partitions(spec).has_partition_key(after)
