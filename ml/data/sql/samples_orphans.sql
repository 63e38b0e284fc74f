-- The events of one stream of one day that count for no impression: orphans, and repeated deliveries. Nothing that
-- arrived is left out of the count.
SELECT
    CAST({row_kind} AS {kinds}) AS row_kind,
    {impression_id} AS impression_id,
    user_key,
    item_key,
    CAST(NULL AS VARCHAR) AS unit_key,
    CAST(NULL AS TIMESTAMP) AS impression_time,
    CAST({click_time} AS TIMESTAMP) AS click_time,
    CAST({conversion_time} AS TIMESTAMP) AS conversion_time,
    CAST({cart_time} AS TIMESTAMP) AS cart_time,
    CAST({favourite_time} AS TIMESTAMP) AS favourite_time,
    CAST({click} AS BIGINT) AS click,
    CAST({conversion} AS BIGINT) AS conversion,
    CAST({cart} AS BIGINT) AS cart,
    CAST({favourite} AS BIGINT) AS favourite,
    CAST({value} AS DOUBLE) AS value,
    CAST({order_id} AS VARCHAR) AS order_id,
    CAST({duplicate_rank} AS BIGINT) AS duplicate_rank,
    FALSE AS duplicate_conflict,
    unparsed_columns,
    source_file,
    source_row,
    source_line,
    {no_fields}
FROM {events}
WHERE {reference} IS NULL OR {event_time} IS NULL
