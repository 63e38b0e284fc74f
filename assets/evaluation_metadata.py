"""An evaluation as Dagster metadata and as the tracker's numbers; the evaluation itself is `evaluation`'s."""

import base64
from collections.abc import Iterable
from typing import Any

import dagster as dg


def evaluation_numbers(evaluation: Any) -> dict[str, Any]:
    """AUC, log loss and predicted over observed by task; None where one is not measurable."""
    numbers = {}
    for task, metrics in evaluation.challenger.tasks.items():
        for name in ("auc", "log_loss", "pcoc"):
            answer = getattr(metrics, name)
            numbers[f"{name}_{task}"] = getattr(answer, "value", None)
    return numbers


def evaluation_metadata(
    evaluation: Any, *, report: str, rules: list[dict[str, Any]], pictures: Iterable[Any]
) -> dict[str, Any]:
    """Decision, rules, numbers and the report's pictures, as the asset's page shows them."""
    numbers = {name: value for name, value in evaluation_numbers(evaluation).items() if value is not None}
    table = dg.TableMetadataValue(
        records=[dg.TableRecord({name: str(value) for name, value in rule.items()}) for rule in rules],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in rules[0]]),
    )
    return {
        "decision": evaluation.decision.decision,
        "reasons": list(evaluation.decision.reasons),
        "rules": table,
        "report": dg.MetadataValue.path(report),
        "model_id": evaluation.challenger.model.model_id,
        "inputs_restated_since_training": list(evaluation.facts.stale_inputs),
        **numbers,
        **_shown(pictures),
    }


def _shown(pictures: Iterable[Any]) -> dict[str, dg.MetadataValue]:
    """The report's pictures, an entry for each of its sections: one entry of all would be a wall of them."""
    sections: dict[str, list[str]] = {}
    for picture in pictures:
        image = base64.b64encode(picture.png).decode()
        sections.setdefault(picture.section, []).append(
            f"**{picture.title}**\n\n![{picture.title}](data:image/png;base64,{image})\n\n{picture.caption}"
        )
    return {f"pictures_{section}": dg.MetadataValue.md("\n\n".join(shown)) for section, shown in sections.items()}
