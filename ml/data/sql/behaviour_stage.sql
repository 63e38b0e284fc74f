-- The events of one stage of one day as they say it themselves, every delivery once: the one that happened first, since
-- a copy that comes later must not change what has happened.
SELECT
    {stage_order} AS _stage_order,
    {stage} AS stage,
    source_row,
    {event_time} AS event_time,
    user_key,
    item_key,
    {click_id} AS click_id,
    {impression_id} AS impression_id,
    {event_time} AS known_time
FROM {delivered}
WHERE isfinite({event_time})
QUALIFY _own AND row_number() OVER (PARTITION BY {same} ORDER BY {event_time}, _own, source_row) = 1
