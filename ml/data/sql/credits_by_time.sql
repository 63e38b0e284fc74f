-- Every conversion of one day with the latest click of the same user and item at or before it: last touch, once.
-- What follows a late click is late as well.
SELECT
    conversions.*,
    touched.touch.shown_impression AS credited_impression,
    touched.touch.shown_time AS credited_time,
    touched.click_time AS credited_click_time,
    coalesce(
        touched.touch.late
        OR epoch_us(conversions.conversion_time) - epoch_us(touched.click_time) >= {window_us},
        FALSE
    ) AS late
FROM {conversions} AS conversions
ASOF LEFT JOIN (
    SELECT
        user_key,
        item_key,
        click_time,
        min(struct_pack(late := late, shown_impression := shown_impression, shown_time := shown_time)) AS touch
    FROM {touches}
    WHERE click_time IS NOT NULL AND shown_impression IS NOT NULL
    GROUP BY user_key, item_key, click_time
) AS touched
    ON conversions.user_key = touched.user_key
    AND conversions.item_key = touched.item_key
    AND conversions.conversion_time >= touched.click_time
ORDER BY conversions.source_row
