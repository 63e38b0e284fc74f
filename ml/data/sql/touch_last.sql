-- Every event with the latest click at or before it, within the clock skew (chosen = NULL where there is none).
SELECT events.*, touched.touch AS chosen
FROM events
ASOF LEFT JOIN touched
    ON {same}
    AND CAST(epoch_us(events.{event_time}) AS HUGEINT) + {skew_us} >= CAST(epoch_us(touched.click_time) AS HUGEINT)
