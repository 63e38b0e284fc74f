-- The impressions that features are computed for, and what happened, numbered as it was written down.
CREATE TEMP VIEW landed AS
SELECT
    *,
    -- What does not lie in its day is quarantined; days that it may look back on are not those that are read.
    coalesce(impression_time >= {day_start} AND impression_time < {day_end}, FALSE) AS _in_day
FROM {impressions};

CREATE TEMP VIEW happened AS
{events};
