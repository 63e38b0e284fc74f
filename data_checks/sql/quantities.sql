-- What the expectations judge: one number a row and rule, NULL where there is nothing to judge.
SELECT
    {quantities}
FROM {source}
