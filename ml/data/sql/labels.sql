-- What is credited to the impressions of one day, one row an impression that has a label at all.
-- A credit names its impression by id and time: an id that another day repeats takes no label a second time. Where the
-- day itself repeats an id, what is credited to any of its rows belongs to the first.
CREATE TEMP TABLE labels AS
WITH moved AS (
    SELECT DISTINCT impression_id, impression_time, first_time
    FROM copies
    WHERE first_time IS NOT NULL
)
SELECT *
FROM {streams}
