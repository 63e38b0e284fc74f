-- Every click of one day with the latest impression of the same user and item at or before it, within the clock skew.
WITH clicks AS (
    SELECT * FROM {clicks}
)
SELECT clicks.*, shown.shown
FROM clicks
ASOF LEFT JOIN (
    SELECT
        impressions.user_key,
        impressions.item_key,
        impressions.impression_time,
        min(
            struct_pack(
                impression_time := impressions.impression_time,
                impression_id := impressions.impression_id,
                user_key := impressions.user_key,
                item_key := impressions.item_key
            )
        ) AS shown
    FROM {impressions} AS impressions
    SEMI JOIN clicks ON impressions.user_key = clicks.user_key AND impressions.item_key = clicks.item_key
    WHERE impressions.impression_time IS NOT NULL AND impressions.impression_id IS NOT NULL
    GROUP BY impressions.user_key, impressions.item_key, impressions.impression_time
) AS shown
    ON clicks.user_key = shown.user_key
    AND clicks.item_key = shown.item_key
    AND CAST(epoch_us(clicks.click_time) AS HUGEINT) + {skew_us} >= CAST(epoch_us(shown.impression_time) AS HUGEINT)
