"""Inspects a bundle on a sample of a day and writes inspection.json; each finding is a module of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ml.atomic_files import write_json
from ml.bundle import load_bundle, smoke_test
from ml.data.batch import Batch
from ml.data.encoding import encode_days
from ml.data.layout import FeatureLayout, Side
from ml.evaluation.evaluated_day import Task
from ml.evaluation.measurement import Measurement
from ml.inspection.day_sample import ENOUGH_CONVERSIONS, DaySample, part_of, rows_of, sample_rows
from ml.inspection.embedding_clusters import VALUES_PER_CLUSTER, Space, Vectors, cluster_embeddings
from ml.inspection.importance import Population, aucs, field_importance, populations
from ml.inspection.record import INSPECTION_FILE, EmbeddingClusters, FieldImportance, Inspection
from ml.inspection_spec import InspectionSpec
from ml.models.contract import ConversionModel
from ml.training.inputs import TABLE, InputRefused
from ml.training.row_means import RowMeans

UNCALIBRATED = (
    "Importance is of the model's own scores, before calibration: calibration keeps their order, but for ties and for "
    "a histogram by field, which would show what the calibration leans on."
)
SHUFFLED = (
    "A field's values change places among the sampled impressions for CTR and CTCVR, and among the clicked ones for "
    "CVR. What two fields both tell is lost by shuffling neither."
)
_SIDES: tuple[Side, Side] = ("user", "item")


def inspect(spec: InspectionSpec, out: Path) -> Inspection:
    """Writes ``out``/inspection.json; same inputs, same bytes.

    Raises ``BundleMismatch`` or ``SmokeTestFailed`` for a bundle that cannot be trusted, ``InputRefused`` for a
    pre-trained table of another vocabulary, and what encoding raises.
    """
    torch.set_num_threads(spec.threads)
    bundle = load_bundle(spec.bundle_dir)
    smoke_test(bundle)
    model = bundle.model
    tables, of_tables = _tables(model, spec.embedding_table)
    as_of = bundle.manifest.as_of
    days = {as_of: (spec.samples, spec.content_sha256)}
    day = encode_days(days=days, vocabulary=bundle.vocabulary(), cache=spec.encoded_cache)[as_of]
    sample = sample_rows(day, rows=spec.max_rows, seed=spec.seed)
    uniform = rows_of(day, sample.uniform)
    judged = rows_of(day, sample.judged) if sample.enriched else uniform
    shares = sample.clicked_negatives if sample.enriched else None
    unshuffled, importance = _importance(model, populations(judged, uniform, clicked_negatives=shares), spec)
    measures, without = _measures(model, uniform, spec.batch_size)
    clusters, of_clusters = _clusters(model, uniform, tables, spec) if tables else ((), ())
    inspection = Inspection(
        model_id=bundle.manifest.model_id,
        model=model.config.name,
        rows=len(judged),
        clicks=int((judged.click == 1).sum()),
        conversions=int((judged.conversion > 0).sum()),
        repeats=spec.repeats,
        aucs=unshuffled,
        importance=importance,
        measures=measures,
        clusters=clusters,
        notes=(
            *_of_sample(sample, judged, day.rows),
            UNCALIBRATED,
            SHUFFLED,
            *_of_constants(model.layout, judged),
            *without,
            *of_tables,
            *of_clusters,
        ),
    )
    write_json(out / INSPECTION_FILE, inspection.model_dump(mode="json"))
    return inspection


def _importance(
    model: ConversionModel, judged: tuple[Population, ...], spec: InspectionSpec
) -> tuple[dict[Task, Measurement], tuple[FieldImportance, ...]]:
    """AUCs with every field as it is, and what each field's shuffling takes from them."""
    unshuffled: dict[Task, Measurement] = {}
    for population in judged:
        unshuffled |= aucs(model, population, batch_size=spec.batch_size)
    return unshuffled, field_importance(
        model, judged, unshuffled, repeats=spec.repeats, seed=spec.seed, batch_size=spec.batch_size
    )


def _of_sample(sample: DaySample, judged: Batch, day_rows: int) -> Iterator[str]:
    conversions = int((judged.conversion > 0).sum())
    if not sample.enriched:
        which = "all of the day's" if len(judged) == day_rows else f"drawn uniformly from the day's {day_rows:,}"
        yield f"{len(judged):,} rows, {which}."
        return
    clicks = int((judged.click == 1).sum())
    yield (
        f"A uniform sample holds fewer than {ENOUGH_CONVERSIONS} conversions, so importance is measured on {clicks:,} "
        f"clicked rows with {conversions:,} conversions and {len(judged) - clicks:,} unclicked ones. AUCs stay those "
        "of the day: rows are drawn uniformly within either kind, and CTCVR's negatives weighted by the day's shares. "
        f"Measures and embeddings are of {len(sample.uniform):,} rows drawn uniformly from the day's {day_rows:,}."
    )


def _of_constants(layout: FeatureLayout, batch: Batch) -> Iterator[str]:
    """A day has one weekday: what its shuffling cannot show."""
    first = batch.features[:1]
    same = (batch.features == first).all(dim=0).tolist() if len(batch) else []
    constants = [column.name for column, alike in zip(layout.columns, same, strict=False) if alike]
    if constants:
        yield f"The same value in every row, so that shuffling changes nothing: {', '.join(constants)}."


def _measures(model: ConversionModel, batch: Batch, batch_size: int) -> tuple[dict[str, float], tuple[str, ...]]:
    """``model.measures`` over the rows, as validation takes them, and a note of those that are not finite."""
    means = RowMeans()
    with torch.inference_mode():
        for start in range(0, len(batch), batch_size):
            part = part_of(batch, slice(start, start + batch_size))
            means.add(model.measures(model(part), part), len(part))
    found = means.read()
    lost = sorted(name for name, value in found.items() if not math.isfinite(value))
    note = (f"Not finite, so left out: {', '.join(lost)}.",) if lost else ()
    return {name: value for name, value in sorted(found.items()) if math.isfinite(value)}, note


def _tables(model: ConversionModel, pretrained: Path | None) -> tuple[dict[Space, tuple[str, torch.Tensor]], list[str]]:
    """Which table stands for each space, with its name in words; empty, and a note of the reason, without two."""
    spaces = model.embedding_spaces()
    if not spaces:
        return {}, ["No embedding clusters: the model does not say which of its tables CTR reads and which CVR."]
    if spaces["ctr"].data_ptr() != spaces["cvr"].data_ptr():
        return {"ctr": ("model's CTR table", spaces["ctr"]), "cvr": ("model's CVR table", spaces["cvr"])}, []
    if pretrained is None:
        return {}, ["No embedding clusters: CTR and CVR share one table, and no pre-trained CTR table was given."]
    table = _pretrained(pretrained, model.layout.total_rows)
    return {"ctr": ("pre-trained CTR table", table), "cvr": ("shared table", spaces["cvr"])}, []


def _pretrained(path: Path, total_rows: int) -> torch.Tensor:
    try:
        tensors = load_file(str(path))
    except SafetensorError as error:
        raise InputRefused(
            f"{path} is no safetensors file ({error}): give the table of the CTR pre-training"
        ) from error
    if TABLE not in tensors:
        raise InputRefused(f"{path} holds {sorted(tensors)}, expected a tensor {TABLE!r}")
    if tensors[TABLE].ndim != 2 or len(tensors[TABLE]) != total_rows:
        raise InputRefused(
            f"{path} is {tuple(tensors[TABLE].shape)}, the bundle's vocabulary has {total_rows:,} rows: give the table "
            "that was pre-trained with it"
        )
    return tensors[TABLE]


def _clusters(
    model: ConversionModel, batch: Batch, tables: dict[Space, tuple[str, torch.Tensor]], spec: InspectionSpec
) -> tuple[tuple[EmbeddingClusters, ...], list[str]]:
    """Of each side's most frequent values among the rows; the value that stands for all unknown ones is none."""
    found: list[EmbeddingClusters] = []
    notes: list[str] = []
    for side in _SIDES:
        column = model.layout.columns[model.layout.node_column(side)]
        values, counts = np.unique(batch.features[:, model.layout.node_column(side)].numpy(), return_counts=True)
        counts = counts[values > column.offset]
        values = values[values > column.offset]
        values = torch.from_numpy(values[np.lexsort((values, -counts))][: spec.max_values])
        vectors: dict[Space, Vectors] = {
            space: Vectors(name, table[values].float().numpy()) for space, (name, table) in tables.items()
        }
        unusable = [each.table for each in vectors.values() if not np.isfinite(each.values).all()]
        if unusable:
            notes.append(f"No clusters of {column.name}: embeddings that are not finite in the {', '.join(unusable)}.")
            continue
        clusters = cluster_embeddings(vectors, side=side, field=column.name, clusters=spec.clusters, seed=spec.seed)
        if clusters is None:
            notes.append(
                f"No clusters of {column.name}: {len(values)} values in the rows, {2 * VALUES_PER_CLUSTER} are needed."
            )
        else:
            found.append(clusters)
    return tuple(found), notes
