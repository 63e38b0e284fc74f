-- The quarantined rows of one stretch of the file, with the ids of all row rules that they break.
SELECT
    position - {start} AS place,
    concat_ws(' ', {rule_ids}) AS rule_ids
FROM broken
WHERE quarantined AND position >= {start} AND position < {end}
ORDER BY position
