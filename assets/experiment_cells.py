"""One cell of an experiment, trained and scored in children of its own; which cells there are is `experiments`'."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.cell_children import LOG_FILE, remove, run_cell_child
from assets.graphs import GRAPH_FILE
from assets.resources import DataRefused, Platform
from assets.training_runs import read_json
from ml.atomic_files import sha256_file
from ml.experiments.cells import Cell, CellResult
from ml.experiments.judging import judge_predictions
from ml.graphs.spec import GraphDay, GraphSpec
from ml.scoring_spec import ScoreSpec
from ml.training.spec import TrainInputs, TrainSpec

_TRAIN, _SCORE = "train", "score"


@dataclass(frozen=True)
class Workplace:
    """Where cells of one experiment are run, and the judged day. ``keep_models``: bundles and predictions stay."""

    platform: Platform
    threads: int
    samples: Path
    content_sha256: str
    keep_models: bool = False

    def run(self, cell: Cell, folder: Path, stop: Callable[[], bool]) -> CellResult:
        """Train, score and judge one cell in its run folder.

        Raises CellFailed with the child's own reason. What an earlier attempt left is taken away first; a checkpoint
        of it is gone on from.
        """
        train, score = folder / _TRAIN, folder / _SCORE
        for leftover in (train, score, folder / LOG_FILE):
            remove(leftover)
        self._child("train", cell.train.model_dump(mode="json"), train, folder=folder, stop=stop)
        spec = ScoreSpec(
            bundle_dir=train / "bundle",
            samples=self.samples,
            content_sha256=self.content_sha256,
            threads=self.threads,
            encoded_cache=self.platform.encoded_cache,
        )
        self._child("score", spec.model_dump(mode="json"), score, folder=folder, stop=stop)
        judged = judge_predictions(score / "predictions.parquet")
        ending = read_json(train / "exit.json")
        kept_epoch = read_json(train / "bundle" / "bundle.json")["best_epoch"]
        if not self.keep_models:
            remove(train / "bundle")
            remove(score / "predictions.parquet")
        return CellResult(
            identity=cell.identity,
            model_id=cell.train.identity(),
            model=cell.train.model.model_dump(mode="json"),
            seed=cell.train.seed,
            training_seconds=ending["seconds"],
            peak_memory_bytes=ending["peak_memory_bytes"],
            kept_epoch=kept_epoch,
            **judged.model_dump(),
        )

    def graph_inputs(self, base: TrainSpec, *, neighbours: int, folder: Path) -> TrainInputs:
        """`base`'s inputs with graphs of so many neighbours, built in `folder` where they are not there yet.

        Raises CellFailed where a graph could not be built.
        """
        inputs = base.inputs
        if inputs.embedding_table is None or inputs.vocabulary_dir is None:
            raise DataRefused("graphs are made of the pre-trained table and its vocabulary; materialize ctr_embeddings")
        changes: dict[str, Any] = {}
        for side in ("user", "item"):
            out = folder / f"{str(inputs.embedding_version)[:12]}-k{neighbours}" / side
            if not (out / GRAPH_FILE).exists():
                spec = GraphSpec(
                    side=side,
                    table=inputs.embedding_table,
                    vocabulary_dir=inputs.vocabulary_dir,
                    days=tuple(
                        GraphDay(day=day.day, samples=day.samples, content_id=day.content_sha256) for day in base.days
                    ),
                    encoded_cache=self.platform.encoded_cache,
                    k=neighbours,
                    threads=self.threads,
                )
                part = out.with_name(f"{side}.part")
                remove(part)
                part.parent.mkdir(parents=True, exist_ok=True)
                self._child("graph", spec.model_dump(mode="json"), part, folder=part.parent, stop=lambda: False)
                part.rename(out)
            changes |= {f"{side}_graph_dir": out, f"{side}_graph_version": sha256_file(out / GRAPH_FILE)}
        return inputs.model_copy(update=changes)

    def _child(self, verb: str, spec: Mapping[str, Any], out: Path, *, folder: Path, stop: Callable[[], bool]) -> None:
        run_cell_child(self.platform, verb, spec, out, threads=self.threads, folder=folder, stop=stop)
