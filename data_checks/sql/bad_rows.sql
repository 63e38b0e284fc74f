-- The rows at the given places of the file, as text.
SELECT
    file_row_number,
    {columns}
FROM read_parquet({samples}, file_row_number = true)
WHERE file_row_number IN ({positions})
