-- The rows at the given places, as text. No field's name can begin with '_', so `_place` hides no column.
SELECT
    _place,
    {columns}
FROM (
    SELECT samples.*, marks.rowid AS _place
    FROM read_parquet({samples}) AS samples
    POSITIONAL JOIN marks
)
WHERE _place IN ({positions})
