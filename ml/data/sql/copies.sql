-- The impressions of one day whose id came more than once (or whose id's hash did), in landed order: 1 is the first.
-- Counting hashes is several times cheaper than ranking every impression, and few come twice.
CREATE TEMP TABLE copies AS
WITH repeated AS (
    SELECT hash(impression_id) AS fingerprint
    FROM {impressions}
    WHERE impression_id IS NOT NULL
    GROUP BY fingerprint
    HAVING count(*) > 1
),
shown AS (
    SELECT
        impressions.source_row,
        impressions.impression_id,
        impressions.impression_time,
        struct_pack({content}) AS content
    FROM {impressions} AS impressions
    SEMI JOIN repeated ON hash(impressions.impression_id) = repeated.fingerprint
)
SELECT
    source_row,
    impression_id,
    impression_time,
    row_number() OVER first_row AS duplicate_rank,
    content IS DISTINCT FROM first_value(content) OVER first_row AS duplicate_conflict,
    first_value(impression_time) OVER first_row AS first_time
FROM shown
WINDOW first_row AS (PARTITION BY impression_id ORDER BY source_row)
