-- The rows that break no quarantine rule, as they came and in their order.
COPY (
    SELECT samples.*
    FROM read_parquet({samples}) AS samples
    POSITIONAL JOIN marks
    WHERE NOT marks.quarantined
) TO {path} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)
