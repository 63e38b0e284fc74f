-- The conversions of one day, each with its place among the deliveries of the same order to the same reference: 1 is
-- the first, a higher place is a repeat. Without an order id, an exact copy (reference, time, value) is a repeat.
-- Deliveries of earlier days come first, whatever their times: they were credited before this day was known.
WITH arrived AS (
    SELECT * FROM {conversions}
),
deliveries AS (
    SELECT TRUE AS own, source_row, conversion_time, {same}
    FROM arrived
    WHERE conversion_time IS NOT NULL AND {named}
    UNION ALL
    SELECT FALSE AS own, source_row, conversion_time, {same}
    FROM {earlier}
    WHERE conversion_time IS NOT NULL AND {named}
),
-- Counting hashes is several times cheaper than ranking every order, and few orders come twice.
repeated AS (
    SELECT hash({same_names}) AS fingerprint
    FROM deliveries
    GROUP BY fingerprint
    HAVING count(*) > 1 AND bool_or(own)
),
ranked AS (
    SELECT
        own,
        source_row,
        row_number() OVER (PARTITION BY {same_names} ORDER BY own, conversion_time, source_row) AS duplicate_rank
    FROM deliveries
    SEMI JOIN repeated ON hash({same_names}) = repeated.fingerprint
)
SELECT arrived.*, coalesce(ranked.duplicate_rank, 1) AS duplicate_rank
FROM arrived
LEFT JOIN ranked ON ranked.own AND arrived.source_row = ranked.source_row
