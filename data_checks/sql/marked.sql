-- For every rule the count of rows that break it, and where the first three of them lie.
SELECT
    count(*),
    {counts}
FROM marks
