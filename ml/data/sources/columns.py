"""SQL expressions that turn raw columns of any type into the typed columns of a landed table; no file is read here."""

from dataclasses import dataclass

from ml.data.engine import identifier, literal
from ml.data.fields import FieldSpec
from ml.data.source_spec import Columns, TimeFormat

#: Separates the values of a sequence field where the log is text.
SEQUENCE_SEPARATOR = "|"


@dataclass(frozen=True)
class TypedColumn:
    """A column of a landed table: its name, the SQL of its value, and the SQL that tells an unreadable raw value."""

    name: str
    value: str
    unreadable: str
    raw: str


class UnknownColumn(ValueError):
    """A column that the dataset spec names and the file does not have."""


class RawColumns:
    """The columns of one raw table, by name, with their DuckDB types; texts among `null_values` are NULL."""

    def __init__(self, types: dict[str, str], *, null_values: tuple[str, ...] = ()) -> None:
        self._types = types
        self._nulls = ", ".join(literal(value) for value in null_values)

    def text(self, column: str) -> str:
        """SQL for `column` as text; whole floats lose their `.0`, so that ids agree between files of other types.

        Raises UnknownColumn naming the columns there are.
        """
        if column not in self._types:
            raise UnknownColumn(f"no column {column!r}; the file has {', '.join(sorted(self._types))}")
        name = identifier(column)
        text = f"CAST({name} AS VARCHAR)"
        if self._types[column] == "JSON":
            text = f"({name} ->> '$')"
            # Whole numbers too long for 64 bits are DOUBLE to the JSON reader; their digits are kept.
            is_float = f"json_type({name}) = 'DOUBLE' AND regexp_matches({text}, '[.eE]')"
            text = f"CASE WHEN {is_float} THEN {_float_text(f'CAST({text} AS DOUBLE)')} ELSE {text} END"
        elif self._types[column] in ("FLOAT", "DOUBLE"):
            text = _float_text(name)
        return f"CASE WHEN {text} NOT IN ({self._nulls}) THEN {text} END" if self._nulls else text

    def key(self, columns: Columns) -> str:
        """SQL for an id: one column, or several joined by ':' (NULL where any part is)."""
        parts = (columns,) if isinstance(columns, str) else columns
        return "(" + " || ':' || ".join(self.text(part) for part in parts) + ")"

    def listed(self, column: str) -> str:
        """SQL for a sequence of texts, newest last; text columns are split at '|'."""
        if column in self._types and self._types[column].endswith("[]"):
            return f"CAST({identifier(column)} AS VARCHAR[])"
        text = self.text(column)
        split = f"CASE WHEN {text} IS NOT NULL THEN string_split({text}, {literal(SEQUENCE_SEPARATOR)}) END"
        if self._types[column] == "JSON":
            name = identifier(column)
            return f"CASE WHEN json_type({name}) = 'ARRAY' THEN json_extract_string({name}, '$[*]') ELSE {split} END"
        return split

    def time(self, columns: Columns, *, format: TimeFormat, timezone: str) -> str:
        """SQL for a time as a UTC TIMESTAMP, NULL where unreadable; texts without offset are in `timezone`."""
        if isinstance(columns, str) and columns in self._types:
            kind = self._types[columns]
            if kind == "TIMESTAMP WITH TIME ZONE":
                return f"timezone('UTC', {identifier(columns)})"
            if kind.startswith("TIMESTAMP"):
                return _local_to_utc(f"CAST({identifier(columns)} AS TIMESTAMP)", timezone)
        text = self.key(columns)
        if format == "iso":
            zoned = f"regexp_matches({text}, ':[0-9]{{2}}([.][0-9]+)? ?(Z|UTC|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$')"
            utc = f"timezone('UTC', TRY_CAST({text} AS TIMESTAMPTZ))"
            # DuckDB's cast would drop any other zone's name, and read 'infinity' and 'epoch' as times.
            plain = f"regexp_matches({text}, '^[-0-9 T:./]+$')"
            local = _local_to_utc(f"TRY_CAST({text} AS TIMESTAMP)", timezone)
            return f"CASE WHEN {zoned} THEN {utc} WHEN {plain} THEN {local} END"
        micros = 1_000_000 if format == "epoch_seconds" else 1_000
        number = f"TRY_CAST({text} AS DOUBLE)"
        # Beyond year 9999 make_timestamp overflows; such a number is no time in this unit.
        in_range = f"abs({number}) * {micros} < 253402300800e6"
        return f"CASE WHEN {in_range} THEN make_timestamp(CAST({number} * {micros} AS BIGINT)) END"

    def number(self, column: str) -> str:
        """SQL for a DOUBLE, NULL where unreadable."""
        return f"TRY_CAST({self.text(column)} AS DOUBLE)"

    def whole_number(self, column: str) -> str:
        """SQL for a BIGINT, NULL where unreadable or not whole (DuckDB's own cast would round 1.5 to 2)."""
        number = self.number(column)
        return f"CASE WHEN {number} = trunc({number}) THEN TRY_CAST({number} AS BIGINT) END"

    def typed(self, name: str, source: Columns, value: str) -> TypedColumn:
        """A landed column whose value can fail to parse: unreadable where the raw text is there and no value."""
        raw = self.key(source)
        return TypedColumn(name=name, value=value, unreadable=f"({raw} IS NOT NULL AND ({value}) IS NULL)", raw=raw)

    def opaque(self, name: str, value: str) -> TypedColumn:
        """A landed column of any text: it cannot be unreadable."""
        return TypedColumn(name=name, value=value, unreadable="FALSE", raw="NULL")

    def field(self, field: FieldSpec) -> TypedColumn:
        """The landed column of a feature field."""
        column = field.source_column
        if field.kind == "number":
            return self.typed(field.name, column, self.number(column))
        if field.kind == "sequence":
            return self.opaque(field.name, self.listed(column))
        return self.opaque(field.name, self.text(column))


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


def _float_text(expression: str) -> str:
    whole = f"isfinite({expression}) AND {expression} = trunc({expression}) AND abs({expression}) < 9e18"
    return (
        f"CASE WHEN {whole} THEN CAST(CAST({expression} AS BIGINT) AS VARCHAR) ELSE CAST({expression} AS VARCHAR) END"
    )


def _local_to_utc(expression: str, timezone: str) -> str:
    return f"timezone('UTC', timezone({literal(timezone)}, {expression}))"
