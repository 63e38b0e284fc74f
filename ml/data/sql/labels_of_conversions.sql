-- The impressions that converted in time: the first conversion dates them, the values of all add up.
SELECT
    events.credited_impression AS impression_id,
    CASE WHEN moved.first_time IS NULL THEN events.credited_time ELSE moved.first_time END AS impression_time,
    min(events.conversion_time) AS conversion_time,
    arg_min(events.credited_click_time, events.conversion_time) AS converted_click_time,
    -- In one order, so that every run adds the same way.
    sum(events.value ORDER BY events.conversion_time, events.value) AS value,
    first(events.order_id ORDER BY events.conversion_time, events.order_id)
        FILTER (WHERE events.order_id IS NOT NULL) AS order_id,
    nullif(
        flatten(
            list(events.unparsed_columns ORDER BY events.conversion_time, events.source_file, events.source_row)
        ),
        []
    ) AS unparsed_columns
FROM {events} AS events
LEFT JOIN moved
    ON events.credited_impression = moved.impression_id AND events.credited_time = moved.impression_time
WHERE events.credited_time BETWEEN {earliest} AND {latest} AND events.conversion_time IS NOT NULL AND NOT events.late
GROUP BY ALL
