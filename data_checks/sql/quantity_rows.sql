-- The values of one quantity as they are, a row each where there is something to judge.
SELECT value, 1 AS rows
FROM (
    SELECT {quantity} AS value
    FROM {source}
)
WHERE value IS NOT NULL
