-- The first and the last of the user's values that each impression may see: strictly before it, no older than the
-- window, and no more than the sequence holds.
CREATE TEMP TABLE {table}_reach AS
WITH moments AS (
    SELECT user_key, event_time, max(place) AS place
    FROM {table}_values
    GROUP BY user_key, event_time
),
seen AS (
    SELECT landed.source_row, landed.user_key, landed.impression_time, newest.place AS newest
    FROM landed
    ASOF JOIN moments AS newest
        ON landed.user_key = newest.user_key AND landed.impression_time > newest.event_time
    WHERE landed._in_day
)
SELECT
    seen.source_row,
    seen.user_key,
    (seen.newest - 1) // {max_length} AS piece,
    greatest(coalesce(outdated.place, 0), seen.newest - {max_length}) + 1 AS oldest,
    seen.newest
FROM seen
ASOF LEFT JOIN moments AS outdated
    ON seen.user_key = outdated.user_key
    AND seen.impression_time - INTERVAL {window_seconds} SECOND > outdated.event_time
WHERE seen.newest > coalesce(outdated.place, 0)
