-- How long conversions took: seconds from the touch that each is credited to; what belongs to nothing has no delay.
SELECT greatest(epoch_us(conversion_time) - epoch_us(coalesce(credited_click_time, credited_time)), 0) / 1e6 AS seconds
FROM {credits}
WHERE credited_impression IS NOT NULL
    AND conversion_time IS NOT NULL
    AND coalesce(credited_click_time, credited_time) IS NOT NULL
    AND isfinite(conversion_time)
