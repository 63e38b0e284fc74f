-- Where the events of one day went: credited, late, repeated, or to no impression at all.
SELECT
    count(*) AS arrived,
    count(*) FILTER (WHERE NOT {repeated} AND {reference} IS NOT NULL AND {event_time} IS NOT NULL AND NOT late) AS credited,
    count(*) FILTER (WHERE NOT {repeated} AND {reference} IS NOT NULL AND {event_time} IS NOT NULL AND late) AS late,
    count(*) FILTER (WHERE {repeated}) AS repeated,
    count(*) FILTER (WHERE NOT {repeated} AND ({reference} IS NULL OR {event_time} IS NULL)) AS orphaned
FROM {events}
