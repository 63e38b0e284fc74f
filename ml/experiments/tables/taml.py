"""TAML's Table 2 (rivals) with the figures that the paper prints for Ali-CCP, and its ablation (figure 3)."""

from __future__ import annotations

from typing import Any

from ml.experiments.definitions import Published, Row, TableDefinition

_SOURCE = "papers/taml.txt, "


def _row(label: str, name: str, ctr: float, cvr: float, ctcvr: float) -> Row:
    figures = {"ctr_auc": ctr, "cvr_auc": cvr, "ctcvr_auc": ctcvr}
    published = {metric: Published(mean=value) for metric, value in figures.items()}
    return Row.model_validate(
        {"label": label, "model": {"name": name}, "published": published, "is_proposed": label == "TAML"}
    )


def _without(label: str, **changes: Any) -> Row:
    return Row(label=label, model={"name": "taml", **changes})


_TAML = _row("TAML", "taml", 0.6049, 0.6813, 0.6544)

TABLE_2 = TableDefinition(
    letter="c",
    slug="c-taml-table-2",
    title="TAML, Table 2: rivals",
    source=_SOURCE + "Table 2",
    metrics=("ctr_auc", "cvr_auc", "ctcvr_auc"),
    rows=(
        _row("MLP", "mlp", 0.6034, 0.6519, 0.6207),
        _row("MMoE", "mmoe", 0.6026, 0.6703, 0.6400),
        _row("PLE", "ple", 0.6037, 0.6712, 0.6477),
        _row("ESMM", "esmm", 0.6030, 0.6706, 0.6485),
        _row("AITM", "aitm", 0.6035, 0.6693, 0.6518),
        _TAML,
    ),
    gain_over="MLP",
    notes=("The paper does not say over which rows its CVR AUC is taken; ours is over clicked impressions.",),
)

ABLATION = TableDefinition(
    letter="c",
    slug="c-taml-ablation",
    title="TAML: ablation of its modules",
    source=_SOURCE + "section 3.5 and figure 3 (a picture: its figures are not in the text)",
    metrics=("ctr_auc", "cvr_auc", "ctcvr_auc"),
    rows=(
        _TAML,
        # One learner has nobody to exchange knowledge with.
        _without("without multiple learners", learners=1, ctr_distillation=0.0, cvr_distillation=0.0),
        _without("without self-distillation", ctr_distillation=0.0, cvr_distillation=0.0),
        # As many experts, known to every learner alike: nothing tells general, task's and learner's knowledge apart.
        _without("without HTAKR", general_experts=7, task_experts=0, learner_experts=0),
    ),
    gain_over="without multiple learners",
    notes=(
        "One learner is trained without self-distillation, which has no second learner to learn from [reading].",
        "Without HTAKR the seven experts are general, each learner mixing all of them by a gate of its own [reading].",
    ),
)

TABLES = (TABLE_2, ABLATION)
