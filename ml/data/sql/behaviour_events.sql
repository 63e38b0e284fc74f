-- What happened on one day, stage by stage in the order of the log.
SELECT * EXCLUDE (_stage_order, source_row)
FROM (
    {parts}
) AS happened
ORDER BY _stage_order, source_row
