"""Where the templates of both pages are read; what is put into them is page.py's and history.py's."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_environment() -> Environment:
    """Everything that a template is given is escaped, what it lacks is an error."""
    return Environment(
        loader=PackageLoader("ml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
