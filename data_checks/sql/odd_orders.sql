-- The orders by which impressions of more than one user converted.
CREATE OR REPLACE TABLE odd_orders AS
SELECT order_id AS odd_order, count(DISTINCT user_key) AS users_of_order
FROM read_parquet({samples})
WHERE row_kind = 'impression' AND order_id IS NOT NULL
GROUP BY order_id
HAVING count(DISTINCT user_key) > 1
