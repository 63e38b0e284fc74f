-- The events of one day that follow an impression, each with the fields of the latest one that it refers to, as far as
-- there was one when it happened. An orphan has what it says itself.
WITH event AS (
    {events}
),
shown AS (
    SELECT
        {shown_keys},
        impressions.impression_time,
        -- Of several rows with one key and time the same on every run, and all its values from one row.
        min(struct_pack({content})) AS content
    FROM {impressions} AS impressions
    SEMI JOIN event ON {named}
    GROUP BY {shown_keys}, impressions.impression_time
)
SELECT
    event._stage_order,
    event.source_row,
    event.stage,
    event.event_time,
    coalesce(event.user_key, shown.content.user_key) AS user_key{fields}
FROM event
ASOF LEFT JOIN shown ON {same} AND event.known_time >= shown.impression_time
