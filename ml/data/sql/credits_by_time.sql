-- Every event of one day with the click of the same user and item that is chosen.
WITH events AS (
    SELECT * FROM {events}
),
touched AS (
    SELECT
        touches.user_key,
        touches.item_key,
        touches.click_time,
        min(
            struct_pack(
                click_time := touches.click_time,
                late := touches.late,
                shown_impression := touches.shown_impression,
                shown_time := touches.shown_time,
                user_key := touches.user_key,
                item_key := touches.item_key
            )
        ) AS touch
    FROM {touches} AS touches
    SEMI JOIN events ON touches.user_key = events.user_key AND touches.item_key = events.item_key
    WHERE touches.click_time IS NOT NULL AND touches.shown_time IS NOT NULL AND touches.shown_impression IS NOT NULL
    GROUP BY touches.user_key, touches.item_key, touches.click_time
)
{choice}
