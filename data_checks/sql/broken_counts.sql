-- For every rule the count of rows that break it, and where the first three of them lie.
SELECT
    {counts}
FROM broken
