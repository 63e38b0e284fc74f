-- The impressions that some event (a click, a cart, a favourite) followed in time, with the first such event.
SELECT
    events.{reference}_impression AS impression_id,
    CASE WHEN moved.first_time IS NULL THEN events.{reference}_time ELSE moved.first_time END AS impression_time,
    min(events.{event_time}) AS {event_time}
FROM {events} AS events
LEFT JOIN moved
    ON events.{reference}_impression = moved.impression_id AND events.{reference}_time = moved.impression_time
WHERE events.{reference}_time BETWEEN {earliest} AND {latest} AND events.{event_time} IS NOT NULL AND NOT events.late
GROUP BY ALL
