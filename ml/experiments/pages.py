"""Writes an experiment's tables: Markdown, CSV, JSON and stand-alone HTML, with pictures where a table has panels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from ml.atomic_files import atomic_file, write_json
from ml.experiments import text_tables
from ml.experiments.summary import TableResult
from ml.report.environment import page_environment

INDEX_FILE = "index.html"


def write_tables(tables: Sequence[TableResult], out: Path) -> list[Path]:
    """Writes `<slug>.md`, .csv, .json and .html of each table and index.html with all of them; returns the pages.

    A table with panels has a picture a panel, `<slug>-<number>.png`, which its page holds too. The same tables give
    the same bytes; links to runs are relative, so that the folder can be moved as a whole.
    """
    pictures = {table.slug: _pictures(table, out) for table in tables}
    pages: list[Path] = []
    for table in tables:
        _write(out / f"{table.slug}.md", text_tables.as_markdown(table))
        _write(out / f"{table.slug}.csv", text_tables.as_csv(table))
        write_json(out / f"{table.slug}.json", table.model_dump(mode="json"))
        _write(out / f"{table.slug}.html", _page([table], pictures))
        pages.append(out / f"{table.slug}.html")
    _write(out / INDEX_FILE, _page(tables, pictures))
    return [out / INDEX_FILE, *pages]


def _pictures(table: TableResult, out: Path) -> list[tuple[str, Markup]]:
    if not table.panels:
        return []
    # matplotlib takes a second to load, and most tables need none of it.
    from ml.experiments.sensitivity_pictures import draw_panels

    drawn = draw_panels(table)
    for number, picture in enumerate(drawn, start=1):
        with atomic_file(out / f"{table.slug}-{number}.png") as unfinished:
            unfinished.write_bytes(picture.png)
    # The SVG is this program's own.
    return [(picture.caption, Markup(picture.svg)) for picture in drawn]


def _page(tables: Sequence[TableResult], pictures: dict[str, list[tuple[str, Markup]]]) -> str:
    environment = page_environment("ml.experiments")
    return environment.get_template("experiment.html.jinja").render(tables=tables, pictures=pictures, text=text_tables)


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
