"""Log lines as JSON objects, and secrets kept out of any line; which process writes them is decided elsewhere.

Dagster's facts about a record are read by their names (`dagster_meta`): nothing of Dagster is imported.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

#: The logger of what the command line tells.
COMMAND_LOGGER = "postclick"
#: Facts that a caller may give with `extra=`.
EXTRA_FIELDS = ("asset", "partition", "model_id")
HIDDEN = "[hidden]"
#: What is shorter is no secret but a placeholder, and would be hidden out of every other word.
_SHORTEST_SECRET = 4
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


class JsonLines(logging.Formatter):
    """One JSON object a record: time (UTC), level, logger, message and, where known, dataset, run_id, job, step, asset,
    partition, model_id, event (Dagster's type of it), error.

    secrets: texts that are hidden wherever they appear. `dataset` and `assets` (asset by the name of its op) are known
    once the definitions are loaded.
    """

    def __init__(self, *, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.secrets = _worth_hiding(secrets)
        self.dataset: str | None = None
        self.assets: Mapping[str, str] = {}

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        known: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "dataset": self.dataset,
            **self._from_dagster(getattr(record, "dagster_meta", None) or {}),
        }
        known |= {name: getattr(record, name) for name in EXTRA_FIELDS if getattr(record, name, None) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            known["error"] = self.formatException(record.exc_info)
        given = {name: value for name, value in known.items() if value is not None}
        return json.dumps({name: hide(str(value), self.secrets) for name, value in given.items()}, ensure_ascii=False)

    def _from_dagster(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        event, tags = facts.get("dagster_event"), facts.get("job_tags") or {}
        of_event = getattr(event, "asset_key", None)
        data = getattr(event, "event_specific_data", None)
        error = getattr(data, "error", None)
        spread = "..".join(tags[name] for name in _RANGE if name in tags) or None
        step = facts.get("step_key")
        return {
            "run_id": facts.get("run_id"),
            "job": facts.get("job_name"),
            "step": step,
            "asset": of_event.to_user_string() if of_event else self.assets.get(facts.get("op_name") or step or ""),
            "partition": getattr(event, "partition", None) or tags.get("dagster/partition") or spread,
            "event": getattr(event, "event_type_value", None),
            "error": error.to_string() if error is not None else None,
        }


def install(*, secrets: Sequence[str] = ()) -> None:
    """From here on this process writes its log as JSON lines, Dagster's own lines included; calling it again is fine.

    What Dagster builds for a run later, loggers of no registry, are made of the class that is set here.
    """
    formatter = installed() or JsonLines()
    formatter.secrets = _worth_hiding(secrets)

    class ConsoleLogger(logging.getLoggerClass()):
        def addHandler(self, handler: logging.Handler) -> None:
            if _is_console(handler):
                handler.setFormatter(installed())
            super().addHandler(handler)

    root = logging.getLogger()
    if installed() is None:
        logging.setLoggerClass(ConsoleLogger)
        # It is older than the class, and Dagster's programs configure it anew after this.
        logging.getLogger("dagster").__class__ = ConsoleLogger
        for handler in filter(_is_console, root.handlers[:]):
            root.removeHandler(handler)
        # As Python without any configuration, warnings and worse.
        root.addHandler(_handler(formatter, logging.WARNING))
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread
        sys.unraisablehook = _log_unraisable
        command = logging.getLogger(COMMAND_LOGGER)
        command.setLevel(logging.INFO)
        command.propagate = False
        command.addHandler(_handler(formatter, logging.INFO))
    for logger in list(logging.root.manager.loggerDict.values()):
        own = [each for each in getattr(logger, "handlers", ()) if _is_console(each)]
        if isinstance(logger, logging.Logger) and own:
            logger.propagate = False
            for handler in own:
                handler.setFormatter(formatter)


def installed() -> JsonLines | None:
    """The formatter in force, None where lines are plain text."""
    formatters = (handler.formatter for handler in logging.getLogger().handlers)
    return next((each for each in formatters if isinstance(each, JsonLines)), None)


def describe(*, dataset: str, assets: Mapping[str, str] | None = None) -> None:
    """What every line may say from here on; does nothing where lines are plain text. assets: by the name of the op."""
    formatter = installed()
    if formatter is not None:
        formatter.dataset = dataset
        formatter.assets = assets if assets is not None else formatter.assets


def hide_secrets(secrets: Iterable[str]) -> None:
    """Keep these texts out of the message of every record of this process, whatever writes it: also out of what Dagster
    stores of it."""
    hidden = _worth_hiding(secrets)
    if not hidden:
        return

    class Record(logging.LogRecord):
        def getMessage(self) -> str:
            return hide(super().getMessage(), hidden)

    logging.setLogRecordFactory(Record)


def hide(text: str, secrets: Iterable[str]) -> str:
    """`text` with each of the secrets replaced."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _message(record: logging.LogRecord) -> str:
    facts = getattr(record, "dagster_meta", None)
    if facts:
        return str(facts["orig_message"])
    if isinstance(record.msg, dict):  # structlog's, before it is rendered
        return str(record.msg.get("event", record.msg))
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # the caller's arguments do not fit: better said so than as text on the console
        return f"{record.msg} {record.args}"


def _worth_hiding(secrets: Iterable[str]) -> tuple[str, ...]:
    """The longest first: one may be part of another."""
    return tuple(sorted({each for each in secrets if len(each) >= _SHORTEST_SECRET}, key=len, reverse=True))


def _is_console(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and getattr(handler, "stream", None) in (
        sys.stderr,
        sys.stdout,
        sys.__stderr__,
        sys.__stdout__,
    )


def _handler(formatter: logging.Formatter, level: int) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(formatter)
    # What a run has captured its own logger has told already.
    handler.addFilter(lambda record: not hasattr(record, "dagster_meta"))
    return handler


def _log_uncaught(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    words = f"{kind.__name__}: {fault}" if str(fault) else kind.__name__
    logging.getLogger(COMMAND_LOGGER).critical(words, exc_info=(kind, fault, trace))


def _log_uncaught_in_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        _log_uncaught(ended.exc_type, ended.exc_value, ended.exc_traceback)


def _log_unraisable(found: Any) -> None:
    words = f"{found.err_msg or 'Exception ignored in'} {found.object!r}"
    trace = (found.exc_type, found.exc_value, found.exc_traceback)
    logging.getLogger(COMMAND_LOGGER).error(words, exc_info=trace)
