-- Every click of one day with the impression it names: one of the click's own day, and only where that day has none, one
-- of the days before, the latest: an id that comes again belongs to the nearest day.
-- An impression without a readable time has no window, and nothing is credited to it.
WITH clicks AS (
    SELECT * FROM {clicks}
),
own AS (
    SELECT
        impressions.impression_id,
        min(
            struct_pack(
                impression_time := impressions.impression_time,
                impression_id := impressions.impression_id,
                user_key := impressions.user_key,
                item_key := impressions.item_key
            )
        ) AS shown
    FROM {impressions} AS impressions
    SEMI JOIN clicks ON impressions.impression_id = clicks.impression_id
    WHERE impressions.impression_time IS NOT NULL
    GROUP BY impressions.impression_id
),
missing AS (
    SELECT clicks.impression_id
    FROM clicks
    ANTI JOIN own ON clicks.impression_id = own.impression_id
    WHERE clicks.impression_id IS NOT NULL
),
past AS (
    SELECT
        impressions.impression_id,
        max(
            struct_pack(
                impression_time := impressions.impression_time,
                impression_id := impressions.impression_id,
                user_key := impressions.user_key,
                item_key := impressions.item_key
            )
        ) AS shown
    FROM {past} AS impressions
    SEMI JOIN missing ON impressions.impression_id = missing.impression_id
    WHERE impressions.impression_time IS NOT NULL
    GROUP BY impressions.impression_id
)
SELECT clicks.*, coalesce(own.shown, past.shown) AS shown
FROM clicks
LEFT JOIN own ON clicks.impression_id = own.impression_id
LEFT JOIN past ON clicks.impression_id = past.impression_id
