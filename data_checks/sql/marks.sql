-- One boolean column a rule, TRUE for the rows that break it, in the row order of the samples.
CREATE TEMP TABLE marks AS
SELECT *, {quarantined} AS quarantined
FROM (
    SELECT
        {masks}
    FROM read_parquet({samples})
)
