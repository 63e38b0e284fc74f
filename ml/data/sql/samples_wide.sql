-- A wide log's impressions already carry their labels.
WITH every_row AS (
    SELECT
        0 AS _kind_order,
        'impression' AS row_kind,
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
        {fields},
        unparsed_columns,
        source_file,
        source_row
    FROM {impressions} AS shown
)
{finish}
