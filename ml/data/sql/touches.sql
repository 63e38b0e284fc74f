-- Every click of one day with the impression that was found for it; a click without one is an orphan (shown = NULL).
-- A late click (its gap is the click window or more) is credited to nobody: late is not wrong.
-- HUGEINT, because the difference of two far-off times overflows BIGINT.
SELECT
    found.click_id,
    found.impression_id AS named_impression,
    found.shown.impression_id AS shown_impression,
    found.shown.impression_time AS shown_time,
    coalesce(found.user_key, found.shown.user_key) AS user_key,
    coalesce(found.item_key, found.shown.item_key) AS item_key,
    found.click_time,
    coalesce(
        CAST(epoch_us(found.click_time) AS HUGEINT) - epoch_us(found.shown.impression_time) >= {window_us}, FALSE
    ) AS late,
    found.unparsed_columns,
    found.source_file,
    found.source_row,
    found.source_line
FROM ({found}) AS found
ORDER BY found.source_row
