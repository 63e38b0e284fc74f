"""What changed in a log's raw columns from one day to another; whether a change matters is decided elsewhere."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

#: Raw columns with their types, by table.
ColumnsByTable = Mapping[str, Mapping[str, str]]


class ColumnChanges(BaseModel):
    """Columns that appeared, disappeared or changed their type, as `table.column`, sorted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    new: tuple[str, ...]
    gone: tuple[str, ...]
    retyped: tuple[str, ...]

    def in_words(self, *, most: int = 10) -> str | None:
        """One line, at most `most` columns of a kind; None where nothing changed."""
        kinds = (("new", self.new), ("gone", self.gone), ("of another type", self.retyped))
        return "; ".join(f"{kind}: {_listing(columns, most)}" for kind, columns in kinds if columns) or None


def column_changes(before: ColumnsByTable, after: ColumnsByTable) -> ColumnChanges:
    """The changes from `before` to `after` in the tables whose columns are known on both days."""
    new, gone, retyped = [], [], []
    for table in sorted(before.keys() & after.keys()):
        old, now = before[table], after[table]
        if not old or not now:
            continue
        new += [f"{table}.{name}" for name in sorted(now.keys() - old.keys())]
        gone += [f"{table}.{name}" for name in sorted(old.keys() - now.keys())]
        retyped += [
            f"{table}.{name}: {old[name]} to {now[name]}"
            for name in sorted(old.keys() & now.keys())
            if old[name] != now[name]
        ]
    return ColumnChanges(new=tuple(new), gone=tuple(gone), retyped=tuple(retyped))


def _listing(columns: tuple[str, ...], most: int) -> str:
    return ", ".join(columns[:most]) + (f" and {len(columns) - most} more" if len(columns) > most else "")
