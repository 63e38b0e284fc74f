-- The rows that break a rule, by their place in the file, with one boolean column a rule. An OR of masks is TRUE where
-- one of them is, whatever the others are, NULL too.
CREATE TEMP TABLE broken AS
SELECT
    file_row_number AS position,
    {known},
    {quarantined} AS quarantined
FROM (
    SELECT
        file_row_number,
        {masks}
    FROM read_parquet({samples}, file_row_number = true)
)
WHERE {any}
