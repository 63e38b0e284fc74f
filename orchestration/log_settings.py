"""The log of a process, set before its first line and before anything else of its settings is known to be right."""

import contextlib
from typing import Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra import structured_logs
from orchestration.settings import SettingsInvalid, prepare_process, read_settings


class LogSettings(BaseSettings):
    """What a line looks like, whatever else is wrong."""

    model_config = SettingsConfigDict(env_prefix="POSTCLICK_", env_file=".env", extra="ignore", frozen=True)

    log_format: Literal["text", "json"] = "text"


def prepare_log() -> None:
    """Set the log's format and what is hidden from it; wrong settings are left to whoever reads them to tell."""
    try:
        prepare_process(read_settings())
    except SettingsInvalid:
        with contextlib.suppress(ValidationError):
            if LogSettings().log_format == "json":
                structured_logs.install()
