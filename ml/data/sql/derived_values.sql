-- One field's values at the events of one stage, numbered per user in the order in which they happened.
CREATE TEMP TABLE {table}_values AS
SELECT
    user_key,
    event_time,
    CAST({value} AS VARCHAR) AS value,
    row_number() OVER (PARTITION BY user_key ORDER BY event_time, _day_order, _row_order) AS place
FROM happened
WHERE stage = {stage}
    AND user_key IS NOT NULL
    AND {value} IS NOT NULL
    AND event_time >= {day_start} - INTERVAL {window_seconds} SECOND
    AND event_time < {day_end}
