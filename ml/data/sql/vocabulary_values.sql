-- The values of one id or category field that were seen often enough over the window, in the order of their ids.
SELECT value, count(*) AS count
FROM (SELECT {column} AS value FROM samples) AS seen
WHERE value IS NOT NULL
GROUP BY value
HAVING count(*) >= {min_count}
ORDER BY count DESC, value
