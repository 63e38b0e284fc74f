-- The mean of a number over the events of the complete days that agree in some fields.
CREATE TEMP TABLE {table} AS
WITH occurring AS (
    -- Adding 0 makes one zero of 0.0 and -0.0, of which either could come first.
    SELECT {keys}, {number} + 0.0 AS number, count(*) AS occurrences
    FROM happened
    WHERE stage IN ({stages})
        AND event_time >= {start}
        AND event_time < {day_start}
        AND {keys_known}
        AND isfinite({number})
    GROUP BY {key_names}, {number} + 0.0
),
summed AS (
    -- In one order, so that every run adds the same way.
    SELECT {key_names}, sum(number * occurrences ORDER BY number) / sum(occurrences) AS mean
    FROM occurring
    GROUP BY {key_names}
)
SELECT {key_names}, CASE WHEN isfinite(mean) THEN mean END AS measure
FROM summed
