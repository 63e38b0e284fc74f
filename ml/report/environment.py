"""How the templates of all pages below ml are read; what is put into them is the pages' own."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_environment(package: str = "ml.report") -> Environment:
    """The templates of a package: everything that one is given is escaped, what it lacks is an error."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
