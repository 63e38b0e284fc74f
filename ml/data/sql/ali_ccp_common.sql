-- The common features that samples of the asked pseudo-days use.
SELECT
    line,
    feature_count,
    CASE WHEN regexp_full_match(feature_count, '[0-9]{{1,9}}') THEN CAST(feature_count AS BIGINT) END AS declared,
    coalesce(features || chr(1), '') AS features
FROM (SELECT *, row_number() OVER () AS line FROM {common})
WHERE line IN (SELECT common_line FROM sample_order WHERE common_copies = 1 AND pseudo_day IN ({asked}))
