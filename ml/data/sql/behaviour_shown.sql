-- The day's impressions as events, or as the clicks that they imply. A repeated id is a repeated delivery; the one that
-- happened first counts, whatever arrives later.
SELECT
    {stage_order} AS _stage_order,
    source_row,
    {stage} AS stage,
    impression_time AS event_time,
    user_key{fields}
FROM {impressions}
WHERE isfinite(impression_time)
QUALIFY impression_id IS NULL OR row_number() OVER (PARTITION BY impression_id ORDER BY impression_time, source_row) = 1
