-- The quantile edges of one number field over the window: the least value at or below which i of {buckets} equal
-- shares of the finite values lie, for i = 1, 2, ...; each edge once, and none at the maximum, above which nothing lies.
WITH counted AS (
    -- Adding 0 makes one zero of 0.0 and -0.0, of which either could come first.
    SELECT value + 0.0 AS value, count(*) AS count
    FROM (SELECT {column} AS value FROM samples) AS seen
    WHERE isfinite(value)
    GROUP BY 1
),
ranked AS (
    SELECT
        value,
        count,
        sum(count) OVER (ORDER BY value ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS up_to,
        sum(count) OVER () AS total,
        max(value) OVER () AS highest
    FROM counted
)
SELECT value
FROM ranked
WHERE value < highest AND (up_to * {buckets}) // total > ((up_to - count) * {buckets}) // total
ORDER BY value
