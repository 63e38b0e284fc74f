-- What every sample carries beyond its log: how old its labels are, whether its id was seen before, what was unreadable.
SELECT
    row_kind,
    impression_id,
    user_key,
    item_key,
    unit_key,
    impression_time,
    click_time,
    conversion_time,
    click,
    conversion,
    value,
    order_id,
    {label_age} AS label_age_seconds,
    {mature} AS mature,
    CASE
        WHEN row_kind <> 'impression' THEN NULL
        WHEN impression_id IS NULL THEN 1
        ELSE row_number() OVER (PARTITION BY row_kind, impression_id ORDER BY source_row)
    END AS duplicate_rank,
    CAST(len(unparsed_columns) AS BIGINT) AS unparsed_count,
    unparsed_columns,
    source_file,
    source_row,
    {field_names}
FROM every_row
ORDER BY _kind_order, source_row
