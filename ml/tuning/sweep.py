"""The same search as a W&B sweep: the file that `wandb sweep` takes and the settings that its agents hand over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml.tuning.dimensions import Dimension, Range, choice_key
from ml.tuning.known_settings import SpaceInvalid
from ml.tuning.objective import Objective
from ml.tuning.search_space import SearchSpace

#: What the agent puts in place of it: one JSON object of all parameters.
ALL_PARAMETERS = "${args_json}"
_MOST_LISTED = 50


def metric_name(objective: Objective) -> str:
    """The metric that a trial logs: W&B reads a run's last value, so it is that of the best epoch so far."""
    return f"best_{objective.name}"


def sweep_config(
    space: SearchSpace, *, objective: Objective, name: str, program: str, arguments: Sequence[str]
) -> dict[str, Any]:
    """A Bayesian sweep of the space, trials far behind ended after their second epoch.

    arguments: those of ``program`` that train one setting; the agent adds the setting as one JSON argument.
    """
    return {
        "name": name,
        "program": program,
        "method": "bayes",
        "metric": {"name": metric_name(objective), "goal": objective.goal},
        "parameters": {name: _parameter(dimension) for name, dimension in space.dimensions.items()},
        "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 3},
        "command": ["${env}", "${program}", *arguments, ALL_PARAMETERS],
    }


def read_parameters(text: str) -> dict[str, Any]:
    """An agent's JSON object as a space of single values, for `read_space`; SpaceInvalid where it is none.

    Lists are handed over as their JSON text.
    """
    try:
        parameters = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpaceInvalid(f"{text!r} is no JSON object of settings ({error})") from error
    if not isinstance(parameters, Mapping):
        raise SpaceInvalid(f"{text!r} is no JSON object of settings")
    return {name: [_value(value)] for name, value in parameters.items()}


def _parameter(dimension: Dimension) -> dict[str, Any]:
    if not isinstance(dimension, Range):
        return {"values": [choice_key(value) for value in dimension.values]}
    ends = {"min": dimension.low, "max": dimension.high}
    is_whole = isinstance(dimension.low, int)
    if dimension.step is not None:
        # W&B's quantized distributions count steps from 0, not from the lower end.
        count = round((dimension.high - dimension.low) / dimension.step) + 1
        if count > _MOST_LISTED:
            raise SpaceInvalid(f"{count} steps from {dimension.low} to {dimension.high}: a sweep lists {_MOST_LISTED}")
        return {"values": [dimension.low + place * dimension.step for place in range(count)]}
    if is_whole:
        return (
            {"distribution": "q_log_uniform_values", **ends, "q": 1}
            if dimension.log
            else {"distribution": "int_uniform", **ends}
        )
    return {"distribution": "log_uniform_values" if dimension.log else "uniform", **ends}


def _value(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith(("[", "{")) else value
