-- Every click of one day with the latest impression of the same user and item at or before it.
SELECT
    clicks.click_id,
    shown.impression_id AS named_impression,
    shown.impression_id AS shown_impression,
    shown.impression_time AS shown_time,
    clicks.user_key,
    clicks.item_key,
    clicks.click_time,
    coalesce(epoch_us(clicks.click_time) - epoch_us(shown.impression_time) >= {window_us}, FALSE) AS late,
    clicks.unparsed_columns,
    clicks.source_file,
    clicks.source_row
FROM {clicks} AS clicks
ASOF LEFT JOIN (
    SELECT user_key, item_key, impression_time, min(impression_id) AS impression_id
    FROM {impressions}
    WHERE impression_time IS NOT NULL AND impression_id IS NOT NULL
    GROUP BY user_key, item_key, impression_time
) AS shown
    ON clicks.user_key = shown.user_key
    AND clicks.item_key = shown.item_key
    AND clicks.click_time >= shown.impression_time
ORDER BY clicks.source_row
