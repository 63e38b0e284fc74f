-- Events that name their click, with what the first click of that id refers to; a click after the event is not known yet.
WITH event AS (
    {events}
),
clicked AS (
    SELECT
        clicks.click_id,
        min(
            struct_pack(
                click_time := clicks.click_time,
                source_file := clicks.source_file,
                source_row := clicks.source_row,
                user_key := clicks.user_key,
                item_key := clicks.item_key,
                impression_id := clicks.impression_id
            )
        ) AS click
    FROM {clicks} AS clicks
    SEMI JOIN event ON clicks.click_id = event.click_id
    WHERE isfinite(clicks.click_time)
    GROUP BY clicks.click_id
)
SELECT
    event.* REPLACE (
        coalesce(event.user_key, clicked.click.user_key) AS user_key,
        coalesce(event.item_key, clicked.click.item_key) AS item_key,
        clicked.click.impression_id AS impression_id,
        coalesce(clicked.click.click_time, event.known_time) AS known_time
    )
FROM event
LEFT JOIN clicked ON event.click_id = clicked.click_id AND event.event_time >= clicked.click.click_time
