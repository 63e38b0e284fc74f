-- Every event with the earliest click whose window [0, W) still holds it; where none does, the latest before it, which
-- makes it late.
SELECT
    events.* EXCLUDE (chosen),
    CASE
        WHEN
            CAST(epoch_us(touched.click_time) AS HUGEINT) <= CAST(epoch_us(events.{event_time}) AS HUGEINT) + {skew_us}
            THEN touched.touch
        ELSE events.chosen
    END AS chosen
FROM ({latest}) AS events
ASOF LEFT JOIN touched
    ON {same}
    AND CAST(epoch_us(events.{event_time}) AS HUGEINT) - {window_us} < CAST(epoch_us(touched.click_time) AS HUGEINT)
