-- Every user's impressions of the day and their labels, each impression once. No temporary table: the quantities are
-- read by a cursor of their own, which would not see it.
CREATE OR REPLACE TABLE user_days AS
SELECT
    user_key AS odd_user,
    count(*) AS impressions_of_user,
    count(*) FILTER (click = 1) AS clicks_of_user,
    count(*) FILTER (conversion = 1) AS conversions_of_user
FROM read_parquet({samples})
WHERE row_kind = 'impression' AND user_key IS NOT NULL AND coalesce(duplicate_rank, 1) = 1
GROUP BY user_key
