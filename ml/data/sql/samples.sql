-- One row per impression of one day with its labels; of rows with one id only the first is labelled.
SELECT
    CAST('impression' AS {kinds}) AS row_kind,
    shown.impression_id,
    shown.user_key,
    shown.item_key,
    shown.unit_key,
    shown.impression_time,
    -- Of several clicks on one impression, the one that the conversion followed; its window runs from there.
    coalesce(labels.converted_click_time, {click_time}) AS click_time,
    labels.conversion_time,
    {cart_time} AS cart_time,
    {favourite_time} AS favourite_time,
    CAST({clicked} AS BIGINT) AS click,
    CAST(labels.conversion_time IS NOT NULL AS BIGINT) AS conversion,
    {cart} AS cart,
    {favourite} AS favourite,
    labels.value,
    labels.order_id,
    coalesce(copies.duplicate_rank, 1) AS duplicate_rank,
    coalesce(copies.duplicate_conflict, FALSE) AS duplicate_conflict,
    CASE
        WHEN labels.unparsed_columns IS NULL THEN shown.unparsed_columns
        ELSE list_concat(shown.unparsed_columns, labels.unparsed_columns)
    END AS unparsed_columns,
    shown.source_file,
    shown.source_row,
    shown.source_line,
    {fields}
FROM {shown} AS shown
LEFT JOIN copies ON shown.source_row = copies.source_row
LEFT JOIN labels
    ON CASE WHEN coalesce(copies.duplicate_rank, 1) = 1 THEN shown.impression_id END = labels.impression_id
    AND shown.impression_time = labels.impression_time
