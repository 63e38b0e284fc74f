-- Every event of one day with the click it names; of several clicks with one id the first.
WITH events AS (
    SELECT * FROM {events}
),
touched AS (
    SELECT
        touches.click_id,
        min(
            struct_pack(
                click_time := touches.click_time,
                source_file := touches.source_file,
                source_row := touches.source_row,
                late := touches.late,
                shown_impression := touches.shown_impression,
                shown_time := touches.shown_time,
                user_key := touches.user_key,
                item_key := touches.item_key
            )
        ) AS touch
    FROM {touches} AS touches
    SEMI JOIN events ON touches.click_id = events.click_id
    WHERE touches.click_time IS NOT NULL AND touches.shown_time IS NOT NULL AND touches.shown_impression IS NOT NULL
    GROUP BY touches.click_id
)
SELECT events.*, touched.touch AS chosen
FROM events
LEFT JOIN touched ON events.click_id = touched.click_id
