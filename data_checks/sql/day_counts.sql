-- What the day holds before any rule has spoken: its rows, the impressions among them (repeats left out of the labels),
-- and the newest impression that lies in the day.
SELECT
    count(*) AS rows,
    count(*) FILTER (row_kind = 'impression') AS impressions,
    count(*) FILTER (row_kind = 'impression' AND coalesce(duplicate_rank, 1) = 1) AS first_copies,
    count(*) FILTER (row_kind = 'impression' AND coalesce(duplicate_rank, 1) = 1 AND click = 1) AS clicks,
    count(*) FILTER (row_kind = 'impression' AND coalesce(duplicate_rank, 1) = 1 AND conversion = 1) AS conversions,
    max(impression_time) FILTER (
        row_kind = 'impression' AND impression_time >= $day_start AND impression_time < $day_end
    ) AS newest
FROM read_parquet({samples})
