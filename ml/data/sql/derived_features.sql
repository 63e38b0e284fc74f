-- The derived fields of every landed impression, in the landed order.
SELECT
    landed.source_row,
    {features}
FROM landed
{joins}
ORDER BY landed.source_row
