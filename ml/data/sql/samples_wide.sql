-- A wide log's impressions already carry their labels.
SELECT
    CAST('impression' AS {kinds}) AS row_kind,
    shown.impression_id,
    shown.user_key,
    shown.item_key,
    shown.unit_key,
    shown.impression_time,
    shown.click_time,
    shown.conversion_time,
    CAST(NULL AS TIMESTAMP) AS cart_time,
    CAST(NULL AS TIMESTAMP) AS favourite_time,
    shown.click,
    shown.conversion,
    CAST(NULL AS BIGINT) AS cart,
    CAST(NULL AS BIGINT) AS favourite,
    shown.value,
    shown.order_id,
    coalesce(copies.duplicate_rank, 1) AS duplicate_rank,
    coalesce(copies.duplicate_conflict, FALSE) AS duplicate_conflict,
    shown.unparsed_columns,
    shown.source_file,
    shown.source_row,
    shown.source_line,
    {fields}
FROM {shown} AS shown
LEFT JOIN copies ON shown.source_row = copies.source_row
