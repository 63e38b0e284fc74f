"""SQL expressions that turn raw columns of any type into the typed columns of a landed table; no file is read here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ml.data.engine import identifier, literal
from ml.data.fields import FieldSpec
from ml.data.source_spec import Columns, TimeFormat
from ml.data.sources.times import stored_time, written_time

#: Separates the values of a sequence field where the log is text.
SEQUENCE_SEPARATOR = "|"

#: Types whose text is one value. A STRUCT, MAP or list has a text too, which would pass as an id nobody has.
_SINGLE_VALUED = re.compile(
    r"VARCHAR|JSON|BOOLEAN|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\([\d,]+\)|DATE|TIME[A-Z_ ]*|INTERVAL"
    r'|UUID|ENUM\(.*\)|"NULL"'
)
_LIST = re.compile(r"(.*)\[\d*\]")
#: What raw values that mean true and false are for a label.
_TRUE, _FALSE = "true", "false"


@dataclass(frozen=True)
class TypedColumn:
    """A column of a landed table: its name, the SQL of its value, and the SQL that tells an unreadable raw value."""

    name: str
    value: str
    unreadable: str
    raw: str


class UnknownColumn(ValueError):
    """A column that the dataset spec names and that cannot be used: `path` is the file that lacks it, if only one."""

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class RawColumns:
    """The columns of one raw table, by name, with their DuckDB types; texts among `null_values` are NULL.

    `lacking` names the columns that only some of the table's files have, each with a file that does not.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        *,
        null_values: tuple[str, ...] = (),
        lacking: Mapping[str, Path] | None = None,
    ) -> None:
        self._types = types
        self._nulls = ", ".join(literal(value) for value in null_values)
        self._lacking = lacking or {}
        #: The columns that expressions have been made of.
        self.used: set[str] = set()

    def text(self, column: str) -> str:
        """SQL for `column` as text; whole floats lose their `.0`, so that ids agree between files of other types.

        NULL where a JSON value is an object or an array. Raises UnknownColumn where the column is not there, not in
        every file, or of a type that holds no single value.
        """
        kind = self._kind(column)
        if not _SINGLE_VALUED.fullmatch(kind):
            raise UnknownColumn(f"column {column!r} is {_shorten(kind)}, where one value a row is needed")
        name = identifier(column)
        if kind in ("FLOAT", "DOUBLE"):
            return self._present(_float_text(name))
        if kind != "JSON":
            return self._present(f"CAST({name} AS VARCHAR)")
        text = f"({name} ->> '$')"
        # Whole numbers too long for 64 bits are DOUBLE to the JSON reader; their digits are kept.
        is_float = f"json_type({name}) = 'DOUBLE' AND regexp_matches({text}, '[.eE]')"
        number = _float_text(f"CAST({text} AS DOUBLE)")
        return self._present(f"CASE WHEN {_nested(name)} THEN NULL WHEN {is_float} THEN {number} ELSE {text} END")

    def key(self, columns: Columns) -> str:
        """SQL for an id: one column, or several joined by ':' (NULL where any part is)."""
        return "(" + " || ':' || ".join(self.text(part) for part in _parts(columns)) + ")"

    def listed(self, column: str) -> str:
        """SQL for a sequence of texts, newest last; text columns are split at '|'."""
        name, kind = identifier(column), self._kind(column)
        if elements := _LIST.fullmatch(kind):
            if not _SINGLE_VALUED.fullmatch(elements[1]):
                raise UnknownColumn(f"column {column!r} is {_shorten(kind)}, where a list of single values is needed")
            if elements[1] in ("FLOAT", "DOUBLE"):
                return f"list_transform({name}, lambda value: {_float_text('value')})"
            return f"CAST({name} AS VARCHAR[])"
        text = self.text(column)
        split = f"CASE WHEN {text} IS NOT NULL THEN string_split({text}, {literal(SEQUENCE_SEPARATOR)}) END"
        if kind == "JSON":
            return f"CASE WHEN json_type({name}) = 'ARRAY' THEN json_extract_string({name}, '$[*]') ELSE {split} END"
        return split

    def time(self, columns: Columns, *, format: TimeFormat, timezone: str) -> str:
        """SQL for a time as a UTC TIMESTAMP, NULL where unreadable; texts without offset are in `timezone`."""
        if isinstance(columns, str) and self._kind(columns).startswith("TIMESTAMP"):
            return stored_time(identifier(columns), kind=self._kind(columns), timezone=timezone)
        return written_time(self.key(columns), format=format, timezone=timezone)

    def number(self, column: str) -> str:
        """SQL for a DOUBLE, NULL where unreadable."""
        return f"TRY_CAST({self.text(column)} AS DOUBLE)"

    def whole_number(self, column: str) -> str:
        """SQL for a BIGINT, NULL where unreadable or not whole (DuckDB's own cast would round 1.5 to 2)."""
        number = self.number(column)
        return f"CASE WHEN {number} = trunc({number}) THEN TRY_CAST({number} AS BIGINT) END"

    def label(self, column: str) -> str:
        """SQL for a label as BIGINT: a whole number, 1 for true, 0 for false, NULL where unreadable."""
        text = f"lower({self.text(column)})"
        return (
            f"CASE WHEN {text} = {literal(_TRUE)} THEN 1 WHEN {text} = {literal(_FALSE)} THEN 0 "
            f"ELSE {self.whole_number(column)} END"
        )

    def typed(self, name: str, source: Columns, value: str) -> TypedColumn:
        """A landed column whose value can fail to parse: unreadable where the raw text is there and no value."""
        raw = self._shown(source)
        return TypedColumn(name=name, value=value, unreadable=f"({raw} IS NOT NULL AND ({value}) IS NULL)", raw=raw)

    def opaque(self, name: str, value: str) -> TypedColumn:
        """A landed column of any text: it cannot be unreadable."""
        return TypedColumn(name=name, value=value, unreadable="FALSE", raw="NULL")

    def keyed(self, name: str, source: Columns) -> TypedColumn:
        """A landed id: any text, but a JSON object or array is none."""
        value = self.key(source)
        nested = [_nested(identifier(part)) for part in _parts(source) if self._kind(part) == "JSON"]
        if not nested:
            return self.opaque(name, value)
        return TypedColumn(
            name=name, value=value, unreadable=f"coalesce({' OR '.join(nested)}, FALSE)", raw=self._shown(source)
        )

    def field(self, field: FieldSpec) -> list[TypedColumn]:
        """The landed column of a feature field; a weighted sequence has a second one for its weights."""
        column = field.source_column
        if field.weighted:
            return self._weighted(field)
        if field.kind == "number":
            return [self.typed(field.name, column, self.number(column))]
        if field.kind == "sequence":
            return [self._sequence(field.name, column, self.listed(column))]
        return [self.keyed(field.name, column)]

    def _sequence(self, name: str, column: str, value: str) -> TypedColumn:
        if self._kind(column) != "JSON":
            return self.opaque(name, value)
        unreadable = f"coalesce(json_type({identifier(column)}) = 'OBJECT', FALSE)"
        return TypedColumn(name=name, value=value, unreadable=unreadable, raw=self._shown(column))

    def _weighted(self, field: FieldSpec) -> list[TypedColumn]:
        """Values and weights of texts `id:weight`; an id may hold colons, its weight follows the last one."""
        entries = self.listed(field.source_column)
        values = f"list_transform({entries}, lambda entry: regexp_replace(entry, ':[^:]*$', ''))"
        weight = "TRY_CAST(nullif(regexp_extract(entry, ':([^:]*)$', 1), '') AS DOUBLE)"
        # Infinity times an embedding is no embedding.
        weights = f"list_transform({entries}, lambda entry: CASE WHEN isfinite({weight}) THEN {weight} END)"
        unreadable = f"coalesce(list_contains(list_transform({weights}, lambda weight: weight IS NULL), TRUE), FALSE)"
        raw = self._shown(field.source_column)
        return [
            self._sequence(field.name, field.source_column, values),
            TypedColumn(name=field.weights_column, value=weights, unreadable=unreadable, raw=raw),
        ]

    def _kind(self, column: str) -> str:
        if path := self._lacking.get(column):
            raise UnknownColumn(f"no column {column!r}, which other files of the table have", path=path)
        if column not in self._types:
            near = get_close_matches(column, self._types, n=1)
            raise UnknownColumn(
                f"no column {column!r}{f' (but {near[0]!r})' if near else ''}; the file has {_listing(self._types)}"
            )
        self.used.add(column)
        return self._types[column]

    def _shown(self, columns: Columns) -> str:
        """SQL for the raw text as a reviewer should see it."""
        shown = []
        for part in _parts(columns):
            name = identifier(part)
            shown.append(
                self._present(f"({name} ->> '$')" if self._kind(part) == "JSON" else f"CAST({name} AS VARCHAR)")
            )
        return "(" + " || ':' || ".join(shown) + ")"

    def _present(self, text: str) -> str:
        return f"CASE WHEN {text} NOT IN ({self._nulls}) THEN {text} END" if self._nulls else text


def absent(name: str, kind: str) -> TypedColumn:
    """A landed column that this log does not have."""
    return TypedColumn(name=name, value=f"CAST(NULL AS {kind})", unreadable="FALSE", raw="NULL")


def select_list(columns: list[TypedColumn]) -> str:
    """The SELECT list of a landed table, with `unparsed_columns` as texts `column=raw value`."""
    values = ",\n    ".join(f"{column.value} AS {identifier(column.name)}" for column in columns)
    faults = ", ".join(
        f"CASE WHEN {column.unreadable} THEN {literal(column.name + '=')} || {column.raw} END"
        for column in columns
        if column.unreadable != "FALSE"
    )
    unparsed = f"list_filter([{faults}], lambda fault: fault IS NOT NULL)" if faults else "[]"
    return f"{values},\n    CAST({unparsed} AS VARCHAR[]) AS unparsed_columns"


def _parts(columns: Columns) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns


def _nested(name: str) -> str:
    return f"json_type({name}) IN ('OBJECT', 'ARRAY')"


def _listing(names: Mapping[str, str]) -> str:
    """Up to twenty names: a file may have ten thousand."""
    shown = sorted(names)[:20]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _shorten(kind: str) -> str:
    return kind if len(kind) <= 60 else kind[:57] + "..."


def _float_text(expression: str) -> str:
    whole = f"isfinite({expression}) AND {expression} = trunc({expression}) AND abs({expression}) < 9e18"
    return (
        f"CASE WHEN {whole} THEN CAST(CAST({expression} AS BIGINT) AS VARCHAR) ELSE CAST({expression} AS VARCHAR) END"
    )
