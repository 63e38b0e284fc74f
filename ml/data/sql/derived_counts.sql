-- How many events of the complete days agree in some fields, or their share of another stage's events.
CREATE TEMP TABLE {table} AS
SELECT {keys}, {measure} AS measure
FROM happened
WHERE stage IN ({stages})
    AND event_time >= {start}
    AND event_time < {day_start}
    AND {keys_known}
GROUP BY {key_names}
