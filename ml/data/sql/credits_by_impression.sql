-- Every event of one day with the impression it names, and of the clicks on that impression the one that is chosen; of
-- late clicks only where all are late. Without a click at or before the event its earliest click stands for them (the
-- rules judge the order), without any click the impression: an event without a click is a finding.
WITH events AS (
    SELECT * FROM {events}
),
touched AS (
    SELECT
        touches.shown_impression,
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
    SEMI JOIN events ON touches.shown_impression = events.impression_id
    WHERE touches.click_time IS NOT NULL AND touches.shown_time IS NOT NULL
    GROUP BY touches.shown_impression, touches.click_time, touches.late
    QUALIFY touches.late = bool_and(touches.late) OVER (PARTITION BY touches.shown_impression)
),
chosen AS (
    {choice}
),
earliest AS (
    SELECT shown_impression, min(touch) AS touch
    FROM touched
    GROUP BY shown_impression
),
unclicked AS (
    SELECT events.impression_id
    FROM events
    ANTI JOIN earliest ON events.impression_id = earliest.shown_impression
    WHERE events.impression_id IS NOT NULL
),
shown AS (
    SELECT
        impressions.impression_id,
        min(
            struct_pack(
                impression_time := impressions.impression_time,
                user_key := impressions.user_key,
                item_key := impressions.item_key
            )
        ) AS shown
    FROM {impressions} AS impressions
    SEMI JOIN unclicked ON impressions.impression_id = unclicked.impression_id
    WHERE impressions.impression_time IS NOT NULL
    GROUP BY impressions.impression_id
)
SELECT
    chosen.* EXCLUDE (chosen),
    coalesce(
        chosen.chosen,
        earliest.touch,
        CASE
            WHEN shown.shown IS NOT NULL
                THEN struct_pack(
                    click_time := CAST(NULL AS TIMESTAMP),
                    late := FALSE,
                    shown_impression := shown.impression_id,
                    shown_time := shown.shown.impression_time,
                    user_key := shown.shown.user_key,
                    item_key := shown.shown.item_key
                )
        END
    ) AS chosen
FROM chosen
LEFT JOIN earliest ON chosen.impression_id = earliest.shown_impression
LEFT JOIN shown ON chosen.impression_id = shown.impression_id
