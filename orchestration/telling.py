"""What the command line says while it works, as text or as JSON lines; tables and results are the commands' own."""

import logging

from rich.console import Console

from infra.structured_logs import COMMAND_LOGGER, installed

_terminal = Console(stderr=True)


def tell(line: str) -> None:
    """A line of progress on standard error."""
    if installed():
        logging.getLogger(COMMAND_LOGGER).info(line.strip())
    else:
        _terminal.print(line, soft_wrap=True, highlight=False, markup=False)


def tell_fault(text: str) -> None:
    """Why the command ends as it should not, on standard error."""
    if installed():
        logging.getLogger(COMMAND_LOGGER).error(text)
    else:
        _terminal.print(text, style="red", soft_wrap=True, highlight=False, markup=False)
