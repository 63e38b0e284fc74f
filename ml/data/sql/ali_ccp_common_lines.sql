-- Where each common-feature index stands in its file, and how often: one that stands there twice means nothing.
CREATE OR REPLACE TEMP TABLE common_lines AS
SELECT
    common_index,
    min(line) AS common_line,
    count(*) AS common_copies
FROM (SELECT row_number() OVER () AS line, common_index FROM {common})
WHERE common_index IS NOT NULL
GROUP BY common_index
