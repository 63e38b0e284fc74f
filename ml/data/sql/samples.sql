-- One row per impression of one day with the labels credited to it, then a row for every event of that day that
-- belongs to no impression: nothing that arrived is left out of the count.
-- A credit names its impression by id and time: an id that another day repeats takes no label a second time.
WITH own AS (
    SELECT DISTINCT impression_id, impression_time
    FROM {impressions}
    WHERE impression_id IS NOT NULL
),
clicked AS (
    SELECT shown_impression, min(click_time) AS click_time
    FROM {touches} AS touches
    SEMI JOIN own
        ON touches.shown_impression = own.impression_id
        AND touches.shown_time IS NOT DISTINCT FROM own.impression_time
    WHERE shown_impression IS NOT NULL AND click_time IS NOT NULL AND NOT late
    GROUP BY shown_impression
),
converted AS (
    SELECT
        credited_impression,
        min(conversion_time) AS conversion_time,
        arg_min(credited_click_time, conversion_time) AS click_time,
        -- In one order, so that every run adds the same way.
        sum(value ORDER BY conversion_time, value) AS value,
        first(order_id ORDER BY conversion_time, order_id) FILTER (WHERE order_id IS NOT NULL) AS order_id,
        flatten(list(unparsed_columns ORDER BY conversion_time, source_file, source_row)) AS unparsed_columns
    FROM {credits} AS credits
    SEMI JOIN own
        ON credits.credited_impression = own.impression_id
        AND credits.credited_time IS NOT DISTINCT FROM own.impression_time
    WHERE credited_impression IS NOT NULL AND conversion_time IS NOT NULL AND NOT late
    GROUP BY credited_impression
),
labelled AS (
    SELECT
        'impression' AS row_kind,
        shown.impression_id,
        shown.user_key,
        shown.item_key,
        shown.unit_key,
        shown.impression_time,
        -- Of several clicks on one impression, the one that the conversion followed; its window runs from there.
        coalesce(converted.click_time, clicked.click_time) AS click_time,
        converted.conversion_time,
        CAST(clicked.click_time IS NOT NULL AS BIGINT) AS click,
        CAST(converted.credited_impression IS NOT NULL AS BIGINT) AS conversion,
        converted.value,
        converted.order_id,
        {fields},
        list_concat(shown.unparsed_columns, coalesce(converted.unparsed_columns, [])) AS unparsed_columns,
        shown.source_file,
        shown.source_row
    FROM {impressions} AS shown
    LEFT JOIN clicked ON shown.impression_id = clicked.shown_impression
    LEFT JOIN converted ON shown.impression_id = converted.credited_impression
),
orphan_clicks AS (
    SELECT
        'click' AS row_kind,
        named_impression AS impression_id,
        user_key,
        item_key,
        CAST(NULL AS VARCHAR) AS unit_key,
        CAST(NULL AS TIMESTAMP) AS impression_time,
        click_time,
        CAST(NULL AS TIMESTAMP) AS conversion_time,
        CAST(1 AS BIGINT) AS click,
        CAST(NULL AS BIGINT) AS conversion,
        CAST(NULL AS DOUBLE) AS value,
        CAST(NULL AS VARCHAR) AS order_id,
        {no_fields},
        unparsed_columns,
        source_file,
        source_row
    FROM {day_touches}
    WHERE shown_impression IS NULL OR click_time IS NULL
),
orphan_conversions AS (
    SELECT
        'conversion' AS row_kind,
        impression_id,
        user_key,
        item_key,
        CAST(NULL AS VARCHAR) AS unit_key,
        CAST(NULL AS TIMESTAMP) AS impression_time,
        CAST(NULL AS TIMESTAMP) AS click_time,
        conversion_time,
        CAST(NULL AS BIGINT) AS click,
        CAST(1 AS BIGINT) AS conversion,
        value,
        order_id,
        {no_fields},
        unparsed_columns,
        source_file,
        source_row
    FROM {day_credits}
    WHERE credited_impression IS NULL OR conversion_time IS NULL
),
every_row AS (
    SELECT 0 AS _kind_order, * FROM labelled
    UNION ALL
    SELECT 1 AS _kind_order, * FROM orphan_clicks
    UNION ALL
    SELECT 2 AS _kind_order, * FROM orphan_conversions
)
{finish}
