-- Where the events of one day went: credited, late, or to no impression at all.
SELECT
    count(*) AS arrived,
    count(*) FILTER (WHERE {reference} IS NOT NULL AND {event_time} IS NOT NULL AND NOT late) AS credited,
    count(*) FILTER (WHERE {reference} IS NOT NULL AND {event_time} IS NOT NULL AND late) AS late,
    count(*) FILTER (WHERE {reference} IS NULL OR {event_time} IS NULL) AS orphaned
FROM {events}
