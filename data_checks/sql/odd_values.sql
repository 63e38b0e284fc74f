-- The items of orders that have more than one value: of impressions that converted, and of repeated deliveries. By
-- item, because a log may list an order line by line.
CREATE OR REPLACE TABLE odd_values AS
SELECT order_id AS valued_order, item_key AS valued_item, count(DISTINCT value) AS values_of_order
FROM read_parquet({samples})
WHERE row_kind IN ('impression', 'conversion') AND order_id IS NOT NULL AND value IS NOT NULL
GROUP BY order_id, item_key
HAVING count(DISTINCT value) > 1
