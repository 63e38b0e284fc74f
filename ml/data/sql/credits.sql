-- Every event of one day with the impression it is credited to, once: a repeated delivery is credited to nothing.
-- What follows a late click is late as well. HUGEINT, because the difference of two far-off times overflows BIGINT.
WITH credited AS (
    SELECT found.* REPLACE (CASE WHEN {counts} THEN found.chosen END AS chosen)
    FROM ({found}) AS found
)
SELECT
    credited.* EXCLUDE (chosen, user_key, item_key),
    coalesce(credited.user_key, credited.chosen.user_key) AS user_key,
    coalesce(credited.item_key, credited.chosen.item_key) AS item_key,
    credited.chosen.shown_impression AS credited_impression,
    credited.chosen.shown_time AS credited_time,
    credited.chosen.click_time AS credited_click_time,
    coalesce(
        credited.chosen.late
        OR CAST(epoch_us(credited.{event_time}) AS HUGEINT)
        - epoch_us(coalesce(credited.chosen.click_time, credited.chosen.shown_time))
        >= {window_us},
        FALSE
    ) AS late
FROM credited
ORDER BY credited.source_row
