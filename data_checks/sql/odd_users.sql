-- The users that a rule on users could be about: with more impressions than anyone should have, or with one label on
-- all of them.
CREATE OR REPLACE TABLE odd_users AS
SELECT *
FROM user_days
WHERE
    impressions_of_user > $bot_bound
    OR (
        impressions_of_user >= $one_sided_user_impressions
        AND (clicks_of_user = impressions_of_user OR conversions_of_user = impressions_of_user)
    )
