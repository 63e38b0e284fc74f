-- Each sample's pseudo-day by the order of sample ids, its time spread evenly within that day, and the line of its
-- common features. Rows with one id are of one day, where they are found to be repeated; rows without go first.
CREATE OR REPLACE TEMP TABLE sample_order AS
WITH numbered AS MATERIALIZED (
    SELECT
        row_number() OVER () AS line,
        CASE WHEN regexp_full_match(sample_id, '[0-9]{{1,18}}') THEN CAST(sample_id AS BIGINT) END AS sample,
        common_index
    FROM {skeleton}
),
placed AS (
    SELECT
        line,
        sample,
        common_index,
        rank() OVER (ORDER BY sample NULLS FIRST) - 1 AS place,
        (SELECT count(*) FROM numbered) AS samples
    FROM numbered
),
dated AS (
    SELECT *, place * {days} // samples AS pseudo_day FROM placed
),
within AS (
    SELECT
        *,
        place - (pseudo_day * samples + {days} - 1) // {days} AS place_in_day,
        ((pseudo_day + 1) * samples + {days} - 1) // {days} - (pseudo_day * samples + {days} - 1) // {days} AS day_samples
    FROM dated
)
SELECT
    line,
    CAST(pseudo_day AS INTEGER) AS pseudo_day,
    -- In two steps, because a place times the microseconds of a day overflows BIGINT at 100 million samples.
    CASE
        WHEN sample IS NOT NULL
            THEN starts + to_microseconds(
                place_in_day * (microseconds // day_samples) + place_in_day * (microseconds % day_samples) // day_samples
            )
    END AS impression_time,
    common_line,
    common_copies
FROM within
INNER JOIN {day_lengths} AS day_lengths (pseudo_day, starts, microseconds) USING (pseudo_day)
LEFT JOIN common_lines USING (common_index)
ORDER BY line
