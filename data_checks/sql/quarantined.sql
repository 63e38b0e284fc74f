-- The rows that break a quarantine rule, whole, with the ids of all row rules that they break.
COPY (
    SELECT samples.*, list_filter([{rule_ids}], lambda id: id IS NOT NULL) AS rule_ids
    FROM read_parquet({samples}) AS samples
    POSITIONAL JOIN marks
    WHERE marks.quarantined
) TO {path} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)
