-- Every click of one day with the impression it names; a click that names none in reach is an orphan (shown = NULL).
-- A late click (its gap is the click window or more) is credited to nobody: late is not wrong.
SELECT
    clicks.click_id,
    clicks.impression_id AS named_impression,
    shown.impression_id AS shown_impression,
    shown.impression_time AS shown_time,
    coalesce(clicks.user_key, shown.user_key) AS user_key,
    coalesce(clicks.item_key, shown.item_key) AS item_key,
    clicks.click_time,
    coalesce(epoch_us(clicks.click_time) - epoch_us(shown.impression_time) >= {window_us}, FALSE) AS late,
    clicks.unparsed_columns,
    clicks.source_file,
    clicks.source_row
FROM {clicks} AS clicks
LEFT JOIN (
    SELECT
        impression_id,
        min_by(user_key, impression_time) AS user_key,
        min_by(item_key, impression_time) AS item_key,
        min(impression_time) AS impression_time
    FROM {impressions}
    WHERE impression_id IS NOT NULL
    GROUP BY impression_id
) AS shown ON clicks.impression_id = shown.impression_id
ORDER BY clicks.source_row
