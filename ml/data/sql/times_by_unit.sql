-- How many times of a raw table would lie in the log's days if they were in each unit; the raw text is there in `times`.
SELECT
    count({raw}) AS times,
    {counts}
FROM {source}
