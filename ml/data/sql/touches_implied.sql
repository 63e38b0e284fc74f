-- A log that starts at the click: every impression is its own click.
SELECT
    impression_id AS click_id,
    impression_id AS named_impression,
    impression_id AS shown_impression,
    impression_time AS shown_time,
    user_key,
    item_key,
    impression_time AS click_time,
    FALSE AS late,
    CAST([] AS VARCHAR[]) AS unparsed_columns,
    source_file,
    source_row,
    source_line
FROM {impressions}
ORDER BY source_row
