-- What the receipt says of the admitted rows.
SELECT
    count(*) FILTER (WHERE click = 1),
    count(*) FILTER (WHERE conversion = 1),
    count(*) FILTER (WHERE mature)
FROM read_parquet({samples})
