"""Dagster's instance with the log set before a line is written: the first of Postclick that a Dagster process loads.

`dagster api execute_step` and a step's child process open their instance, say that they have started, and load the code
location after that: its settings come too late for those lines.
"""

from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance, Field
from dagster._core.instance.ref import InstanceRef

from orchestration.log_settings import prepare_log


class LoggedInstance(DagsterInstance):
    """Named by `instance_class` of dagster.yaml; otherwise Dagster's own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        prepare_log()
        super().__init__(*arguments, **named)

    @staticmethod
    def config_schema() -> Mapping[str, Field]:
        """Nothing of its own is configured."""
        return {}

    @staticmethod
    def config_defaults(base_dir: str) -> Mapping[str, Any]:
        """Dagster's defaults below DAGSTER_HOME."""
        return InstanceRef.config_defaults(base_dir)
