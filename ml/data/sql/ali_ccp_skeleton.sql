-- The samples of the asked pseudo-days in the order of the file; what a column cannot hold is a text `column=raw`. No
-- field can be called like a column that begins with _.
SELECT
    line AS source_row,
    {source_line} AS source_line,
    pseudo_day AS _pseudo_day,
    {part} || '-' || sample_id AS impression_id,
    impression_time,
    CASE WHEN click IN ('0', '1') THEN CAST(click AS BIGINT) END AS click,
    CASE WHEN conversion IN ('0', '1') THEN CAST(conversion AS BIGINT) END AS conversion,
    {unit_key} AS unit_key,
    CASE WHEN common_copies = 1 THEN common_line END AS _common_line,
    feature_count,
    CASE WHEN regexp_full_match(feature_count, '[0-9]{{1,9}}') THEN CAST(feature_count AS BIGINT) END AS declared,
    coalesce(features || chr(1), '') AS features,
    CASE
        WHEN impression_time IS NOT NULL AND click IN ('0', '1') AND conversion IN ('0', '1') AND common_copies = 1
            THEN CAST([] AS VARCHAR[])
        ELSE list_filter(
            [
                CASE WHEN impression_time IS NULL THEN 'sample_id=' || coalesce(sample_id, '') END,
                CASE WHEN coalesce(click, '') NOT IN ('0', '1') THEN 'click=' || coalesce(click, '') END,
                CASE
                    WHEN coalesce(conversion, '') NOT IN ('0', '1') THEN 'conversion=' || coalesce(conversion, '')
                END,
                CASE
                    WHEN common_copies IS NULL
                        THEN 'common_feature_index=' || coalesce(common_index, '') || ', not in ' || {common_file}
                    WHEN common_copies > 1
                        THEN 'common_feature_index=' || common_index || ', ' || common_copies || ' rows of '
                            || {common_file}
                END
            ],
            lambda fault: fault IS NOT NULL
        )
    END AS _faults
FROM {skeleton} AS skeleton
POSITIONAL JOIN sample_order
WHERE pseudo_day IN ({asked})
