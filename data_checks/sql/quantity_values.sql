-- The distinct values of one quantity with the rows that hold each; NULL is a value too.
SELECT value, count(*) AS rows
FROM (
    SELECT {quantity} AS value
    FROM {source}
)
GROUP BY value
