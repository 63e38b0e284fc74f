-- Every conversion of one day with the impression it names, clicked or not: a conversion without a click is a finding.
-- What follows a late click is late as well.
SELECT
    conversions.* EXCLUDE (user_key, item_key),
    coalesce(conversions.user_key, shown.user_key) AS user_key,
    coalesce(conversions.item_key, shown.item_key) AS item_key,
    shown.impression_id AS credited_impression,
    shown.impression_time AS credited_time,
    touched.click_time AS credited_click_time,
    coalesce(
        coalesce(touched.late, FALSE)
        OR epoch_us(conversions.conversion_time) - epoch_us(coalesce(touched.click_time, shown.impression_time))
        >= {window_us},
        FALSE
    ) AS late
FROM {conversions} AS conversions
LEFT JOIN (
    SELECT
        impression_id,
        min_by(user_key, impression_time) AS user_key,
        min_by(item_key, impression_time) AS item_key,
        min(impression_time) AS impression_time
    FROM {impressions}
    WHERE impression_id IS NOT NULL
    GROUP BY impression_id
) AS shown ON conversions.impression_id = shown.impression_id
LEFT JOIN (
    SELECT shown_impression, min(click_time) AS click_time, bool_and(late) AS late
    FROM {touches}
    WHERE shown_impression IS NOT NULL AND click_time IS NOT NULL
    GROUP BY shown_impression
) AS touched ON conversions.impression_id = touched.shown_impression
ORDER BY conversions.source_row
