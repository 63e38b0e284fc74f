-- Every conversion of one day with the click it names; what follows a late click is late as well.
SELECT
    conversions.* EXCLUDE (user_key, item_key),
    coalesce(conversions.user_key, touched.user_key) AS user_key,
    coalesce(conversions.item_key, touched.item_key) AS item_key,
    touched.shown_impression AS credited_impression,
    touched.shown_time AS credited_time,
    touched.click_time AS credited_click_time,
    coalesce(
        touched.late OR epoch_us(conversions.conversion_time) - epoch_us(touched.click_time) >= {window_us}, FALSE
    ) AS late
FROM {conversions} AS conversions
LEFT JOIN (
    SELECT
        click_id,
        min_by(shown_impression, (click_time, source_file, source_row)) AS shown_impression,
        min_by(shown_time, (click_time, source_file, source_row)) AS shown_time,
        min_by(late, (click_time, source_file, source_row)) AS late,
        min_by(user_key, (click_time, source_file, source_row)) AS user_key,
        min_by(item_key, (click_time, source_file, source_row)) AS item_key,
        min(click_time) AS click_time
    FROM {touches}
    WHERE click_id IS NOT NULL AND click_time IS NOT NULL AND shown_impression IS NOT NULL
    GROUP BY click_id
) AS touched ON conversions.click_id = touched.click_id
ORDER BY conversions.source_row
